"""Lists in pages: opaque tokens that hold the position after which the next page begins."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from typing import Annotated, TypeVar

from fastapi import Depends, Query, Request, Response

from ..refusals import InvalidRequest

DEFAULT_SIZE = 50
MAX_SIZE = 200

Item = TypeVar("Item")
Position = tuple[float, str]


class Page:
    """The page that a request asks for."""

    def __init__(
        self,
        request: Request,
        response: Response,
        page_size: Annotated[int, Query(ge=1, description=f"At most {MAX_SIZE} are given.")] = DEFAULT_SIZE,
        page_token: Annotated[str | None, Query(description="`next_page_token` of the page before.")] = None,
    ) -> None:
        self._request = request
        self._response = response
        self._size = min(page_size, MAX_SIZE)
        self.after = _position(page_token) if page_token is not None else None

    @property
    def limit(self) -> int:
        """How many items to query: one more than are shown, to know whether there are more."""
        return self._size + 1

    def cut(self, items: Sequence[Item], position: Callable[[Item], Position]) -> tuple[list[Item], str | None]:
        """The items to show, and the token of the next page; sets the Link header (RFC 8288)."""
        shown = list(items[: self._size])
        if len(items) <= self._size:
            return shown, None
        token = _token(position(shown[-1]))
        url = self._request.url.include_query_params(page_token=token)
        self._response.headers["Link"] = f'<{url}>; rel="next"'
        return shown, token


InPages = Annotated[Page, Depends(Page)]


def _token(position: Position) -> str:
    return base64.urlsafe_b64encode(json.dumps(position).encode()).decode().rstrip("=")


def _position(token: str) -> Position:
    try:
        padded = token + "=" * (-len(token) % 4)
        at, last = json.loads(base64.urlsafe_b64decode(padded))
        return float(at), str(last)
    except (ValueError, TypeError) as error:
        fault = {"detail": "not a token that this service gave", "pointer": "#/page_token"}
        raise InvalidRequest("The page token is not one of ours.", errors=[fault]) from error
