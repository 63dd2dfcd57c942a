"""Signing in with a browser: a cookie that carries the API key, and that no script can read."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl

from anyio import to_thread
from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import BaseModel, Field, ValidationError

from ..errors import CrossSite, Unauthorized
from ..parsing import invalid
from ..refusals import InvalidRequest, TooLarge
from .bodies import small_body
from .dependencies import InServices
from .documents import answers

router = APIRouter(tags=["Pages"])

COOKIE = "lipserve_key"
RETURN = re.compile(r"/v1/jobs/[0-9a-zA-Z-]{1,36}/report")
START = "/"
MAX_BYTES = 4096


def session_key(request: Request) -> str | None:
    """The key in the browser's cookie. What pages of other origins caused has been refused before (cross_site.py):
    `SameSite=Strict` keeps other sites away, but other ports of one host are the same site.
    """
    return request.cookies.get(COOKIE)


class SignIn(BaseModel):
    """The form of the start page."""

    key: str = Field(max_length=256, description="The API key.")
    page: str = Field(default=START, max_length=100, description="The report to go to; the start page otherwise.")


FORM = "application/x-www-form-urlencoded"
BODY = {"requestBody": {"required": True, "content": {FORM: {"schema": {"$ref": "#/components/schemas/SignIn"}}}}}


@router.post(
    "/session",
    status_code=303,
    response_class=Response,
    openapi_extra=BODY,
    responses=answers(InvalidRequest, Unauthorized, CrossSite, TooLarge),
)
async def sign_in(request: Request, services: InServices) -> Response:
    """Keep an API key in a cookie of the browser, until it closes."""
    asked = await _asked(request)
    key, page = asked.key.strip(), asked.page
    holder = await to_thread.run_sync(services.keys.holder, key)
    if holder is None:
        raise Unauthorized("The API key is unknown or revoked.")
    answer = RedirectResponse(page if RETURN.fullmatch(page) else START, 303)
    answer.set_cookie(COOKIE, key, httponly=True, samesite="strict", secure=request.url.scheme == "https")
    return answer


@router.delete("/session", status_code=204, responses=answers(CrossSite))
async def sign_out(request: Request) -> Response:
    """Have the browser forget the key."""
    answer = Response(status_code=204)
    answer.delete_cookie(COOKIE, httponly=True, samesite="strict", secure=request.url.scheme == "https")
    return answer


async def _asked(request: Request) -> SignIn:
    """The form's fields; they come from anybody, so they are few and short, and no file is kept."""
    text = (await small_body(request, MAX_BYTES)).decode("utf-8", "replace")
    fields = dict(parse_qsl(text, keep_blank_values=True))
    try:
        return SignIn.model_validate(fields)
    except ValidationError as error:
        raise invalid(error.errors(include_url=False, include_input=False), fields) from error
