"""From templates to answers that load nothing from elsewhere and run no script but their own."""

from __future__ import annotations

import base64
import hashlib
import math
import secrets
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from fastapi.responses import HTMLResponse, Response
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from .. import __version__
from ..contract.progress import Progress
from . import palette, text, words

STATIC = Path(__file__).parent / "static"
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Vary": "Accept",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
PAGE_POLICY = (
    "default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; connect-src 'self'; img-src data:; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

FILTERS: dict[str, Callable[..., str]] = {
    "upper_bound": text.upper,
    "lower_bound": text.lower,
    "bound": text.bound,
    "number": text.number,
    "percent": text.percent,
    "seconds": text.seconds,
    "count": text.count,
    "size": text.size,
    "shape": text.shape,
    "moment": text.moment,
    "shortened": text.shortened,
    "question": words.question,
    "interval": words.interval,
    "distance": words.distance,
}


def page(template: str, script: str | None = None, status: int = 200, **values: Any) -> Response:
    """A page from its template, with its script, under a policy that allows nothing else."""
    nonce = secrets.token_urlsafe(16)
    code = "" if script is None else static(script)
    shown = _environment().get_template(template).render(nonce=nonce, script=code, css=page_css(), **values)
    headers = HEADERS | {"Content-Security-Policy": PAGE_POLICY.format(nonce=nonce)}
    return HTMLResponse(shown, status, headers)


def svg(drawing: Markup) -> Response:
    """A chart as a file, for light and dark surroundings."""
    style = palette.chart_css()
    head, end, rest = drawing.partition(">")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; sandbox"
    headers = HEADERS | {"Cache-Control": "no-cache", "Content-Security-Policy": policy}
    return Response(f"{head}{end}<style>{style}</style>{rest}", 200, headers, "image/svg+xml")


@cache
def static(name: str) -> Markup:
    """A file of ours to put into a page as it is."""
    return Markup((STATIC / name).read_text("utf-8"))  # noqa: S704 (a file of the package)


@cache
def page_css() -> Markup:
    """All styles of a page."""
    return Markup(palette.page_css()) + Markup(palette.chart_css()) + static("page.css")  # noqa: S704 (ours)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader(__package__),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalized,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {
        "version": __version__,
        "infinity": math.inf,
        "STATUSES": words.STATUSES,
        "VERDICTS": words.VERDICTS,
        "NO_PROGRESS": Progress(),
    }
    environment.filters |= FILTERS
    environment.tests["clearly_above"] = words.is_clearly_above
    return environment


def _finalized(value: object) -> object:
    """Whatever a template writes, without characters that cannot be seen; markup of ours as it is."""
    return value if isinstance(value, Markup) else text.plain("" if value is None else value)
