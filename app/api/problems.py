"""Every error as `application/problem+json`, the framework's own included."""

from __future__ import annotations

import json
import logging
import math
from typing import Any, NoReturn, cast

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import Match

from ..errors import (
    DatabaseUnavailable,
    MalformedJson,
    MalformedRequest,
    MethodNotAllowed,
    NotFound,
    Problem,
    RequestRefused,
)
from ..parsing import invalid
from ..refusals import TooLarge
from ..store.database import OUTAGES

logger = logging.getLogger(__name__)

OUTAGE_RETRY_S = 2
MEDIA_TYPE = "application/problem+json"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
FRAMEWORK_PROBLEMS: dict[int, type[Problem]] = {
    kind.status: kind for kind in (MalformedRequest, NotFound, MethodNotAllowed, TooLarge)
}


def answer(problem: Problem, path: str) -> Response:
    """The response for a problem met by a request to `path`."""
    return JSONResponse(
        problem.document(path), status_code=problem.status, media_type=MEDIA_TYPE, headers=problem.headers
    )


def register(app: FastAPI) -> None:
    """Have every exception answered as a problem."""
    app.add_exception_handler(Problem, _on_problem)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    for outage in OUTAGES:
        app.add_exception_handler(outage, _on_outage)


def parse_json(text: bytes) -> Any:
    """The JSON value of a body; MalformedJson where there is none, or with NaN, Infinity or halves of characters."""
    try:
        value = json.loads(text, parse_constant=_refuse, parse_float=_finite)
        if b"\\u" in text:
            json.dumps(value, ensure_ascii=False).encode()  # a lone surrogate is no text: ValueError
        return value
    except (ValueError, RecursionError) as error:
        raise MalformedJson(f"The body is not JSON: {error}.") from error


def _refuse(number: str) -> NoReturn:
    raise ValueError(f"{number} is no number that JSON can carry")


def _finite(number: str) -> float:
    return value if math.isfinite(value := float(number)) else _refuse(number)


async def _on_problem(request: Request, problem: Exception) -> Response:
    return _answered(request, cast(Problem, problem))


async def _on_validation_error(request: Request, error: Exception) -> Response:
    errors = [e | {"loc": e["loc"][1:]} for e in cast(RequestValidationError, error).errors()]
    data = {str(e["loc"][0]): None for e in errors if e["loc"]}
    return _answered(request, invalid(errors, data))


async def _on_outage(request: Request, error: Exception) -> Response:
    logger.warning("the database does not answer: %s", error)
    problem = DatabaseUnavailable(headers={"Retry-After": str(OUTAGE_RETRY_S)})
    return answer(problem, request.url.path)


async def _on_http_exception(request: Request, error: Exception) -> Response:
    refusal = cast(HTTPException, error)
    kind = FRAMEWORK_PROBLEMS.get(refusal.status_code, RequestRefused)
    place = f"{request.method} {request.url.path}"
    allow = {"Allow": ", ".join(_methods(request))} if kind is MethodNotAllowed else {}
    problem = kind(f"{place}: {refusal.detail}", headers=dict(refusal.headers or {}) | allow)
    response = _answered(request, problem)
    response.status_code = refusal.status_code
    return response


def _methods(request: Request) -> list[str]:
    """The methods that the request's path answers to; the framework knows those of the first of its routes only."""
    routes = request.app.routes
    return [
        method
        for method in METHODS
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in routes)
    ]


def _answered(request: Request, problem: Problem) -> Response:
    request.app.state.http_metrics.problem(problem.slug)
    return answer(problem, request.url.path)
