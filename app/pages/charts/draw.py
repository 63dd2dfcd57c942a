"""From a Vega-Lite specification to SVG: no browser, no network, no fonts but the reader's."""

from __future__ import annotations

import json
from functools import lru_cache

from markupsafe import Markup, escape

from ..palette import light
from .scales import Spec

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
KEPT = 256
"""Drawings that are kept, of about 10 KB each."""
VEGA_LITE = "5.20"


def drawn(spec: Spec, description: str | None = None) -> Markup:
    """The SVG element of a chart; names inside are data to the library, which escapes them.

    To readers of screens it is one image with that description, or nothing where the page around describes it.
    """
    attributes = 'aria-hidden="true"' if description is None else f'role="img" aria-label="{escape(description)}"'
    svg = _svg(json.dumps(_themed(spec), sort_keys=True, allow_nan=False))
    return Markup(svg.replace("<svg", f"<svg {attributes}", 1))  # noqa: S704 (made by the library, which escapes all text)


@lru_cache(maxsize=KEPT)
def _svg(spec: str) -> str:
    import vl_convert  # 60 MB, which a service that draws nothing need not have

    return vl_convert.vegalite_to_svg(spec, vl_version=VEGA_LITE, allowed_base_urls=[])


def _themed(spec: Spec) -> Spec:
    axis = {
        "labelColor": light("muted"),
        "titleColor": light("muted"),
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": 500,
        "titlePadding": 10,
        "domainColor": light("line"),
        "tickColor": light("line"),
        "gridColor": light("grid"),
    }
    legend = {"labelColor": light("ink"), "labelFontSize": 12, "title": None, "orient": "bottom", "columnPadding": 44}
    config = {
        "aria": False,  # the page describes each chart, and gives its numbers in a table
        "font": FONT,
        "axis": axis,
        "legend": legend,
        "view": {"stroke": None},
        "text": {"color": light("ink"), "fontSize": 12},
    }
    return {
        "background": None,
        "padding": 4,
        "config": config,
        "autosize": {"type": "fit", "contains": "padding"},
    } | spec
