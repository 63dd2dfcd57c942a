"""Signing in with a browser: a cookie that carries the API key, and that no script can read."""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import urlsplit

from anyio import to_thread
from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import RedirectResponse

from app.api.documents import answers
from app.api.house import InHouse
from app.errors import Forbidden, Unauthorized

router = APIRouter(tags=["Pages"])

COOKIE = "lipserve_key"
READING = ("GET", "HEAD")
RETURN = re.compile(r"/v1/jobs/[0-9a-zA-Z-]{1,36}/report")
START = "/"


def session_key(request: Request) -> str | None:
    """The key in the browser's cookie; None for a write that a page of another origin has caused.

    `SameSite=Strict` keeps other sites away, but other ports of one host are the same site.
    """
    is_reading = request.method in READING
    return request.cookies.get(COOKIE) if is_reading or is_own(request) else None


def is_own(request: Request) -> bool:
    """Whether no page of another origin sent the request, as far as the browser tells."""
    told = request.headers.get("sec-fetch-site")
    if told is not None:
        return told in ("same-origin", "none")
    origin = request.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == request.headers.get("host")


@router.post("/session", status_code=303, response_class=Response, responses=answers(Unauthorized, Forbidden))
async def sign_in(
    request: Request,
    house: InHouse,
    key: Annotated[str, Form(max_length=256, description="The API key.")],
    page: Annotated[str, Form(max_length=100, description="The report to go to; the start page otherwise.")] = START,
) -> Response:
    """Keep an API key in a cookie of the browser, until it closes."""
    _refuse_others(request)
    holder = await to_thread.run_sync(house.keys.holder, key.strip())
    if holder is None:
        raise Unauthorized("The API key is unknown or revoked.")
    answer = RedirectResponse(page if RETURN.fullmatch(page) else START, 303)
    answer.set_cookie(COOKIE, key.strip(), httponly=True, samesite="strict", secure=request.url.scheme == "https")
    return answer


@router.delete("/session", status_code=204, responses=answers(Forbidden))
async def sign_out(request: Request) -> Response:
    """Have the browser forget the key."""
    _refuse_others(request)
    answer = Response(status_code=204)
    answer.delete_cookie(COOKIE, httponly=True, samesite="strict", secure=request.url.scheme == "https")
    return answer


def _refuse_others(request: Request) -> None:
    if not is_own(request):
        raise Forbidden("A page of another origin must not sign in or out here.")
