"""The colours: every one has a light and a dark value, for the page and for the charts on it."""

from __future__ import annotations

COLORS: dict[str, tuple[str, str]] = {
    "paper": ("#f4f6f9", "#0e141b"),
    "panel": ("#ffffff", "#171f29"),
    "ink": ("#17202c", "#e6ecf3"),
    "muted": ("#556274", "#a2afc0"),
    "line": ("#d8dfe8", "#33404f"),
    "grid": ("#e9edf2", "#242f3c"),
    "accent": ("#1a56a8", "#86b8f5"),
    "band": ("#e3ecf8", "#1e314a"),
    "upper": ("#1b5cb0", "#7fb4f6"),
    "lower": ("#0b765a", "#4dcca0"),
    "estimate": ("#8a5a06", "#e2b14f"),
    "heat": ("#b9481a", "#f5935c"),
    "cool": ("#8593a6", "#6c7c90"),
    "good": ("#0d6b3c", "#5fd394"),
    "bad": ("#b0241c", "#ff8f86"),
    "unsure": ("#855400", "#ecb64c"),
}
"""Light first. The light values are all different, since `chart_css` tells them apart by their value."""


def light(name: str) -> str:
    """The colour's value in charts, as they are drawn."""
    return COLORS[name][0]


def page_css() -> str:
    """Every colour as a custom property, for both schemes."""
    bright, dark = (";".join(f"--{name}:{pair[i]}" for name, pair in COLORS.items()) for i in (0, 1))
    return f":root{{{bright}}}@media (prefers-color-scheme:dark){{:root{{{dark}}}}}"


def chart_css() -> str:
    """Rules that turn a chart drawn in light colours into a dark one where that is preferred.

    The chart itself stays plain SVG, which programs that know no style sheets show too.
    """
    rules = [
        f'svg [{part}="{bright}"]{{{part}:{dark}}}' for bright, dark in COLORS.values() for part in ("fill", "stroke")
    ]
    return f"@media (prefers-color-scheme:dark){{{''.join(rules)}}}"
