"""The graph beside its layers: one row a layer, one lane a value that somebody still reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..contract.result import LayerView

INPUT = -1
"""The network's input as a source."""
MOST_LANES = 10
"""Lanes beyond are drawn in the last one."""
LANE, ROW = 14, 40
"""Distance of lanes and of rows, in pixels."""


@dataclass(frozen=True)
class Rail:
    """One row's picture: an SVG path for its lines, and the place of its dot."""

    path: str
    x: int
    width: int


def sources_of(layers: Sequence[LayerView]) -> list[list[int]]:
    """Where each layer reads: its `sources`; the layer before it where a result of before tells of none."""
    sources = [sorted(set(layer.sources)) for layer in layers]
    return sources if all(sources) else [[index - 1] for index in range(len(layers))]


def rails(sources: Sequence[Sequence[int]]) -> list[Rail]:
    """The rows' pictures, from the sources of each."""
    last = {source: row for row, of_row in enumerate(sources) for source in of_row}
    lane = {INPUT: 0}
    alive, rows = {INPUT}, []
    for row, of_row in enumerate(sources):
        ends = {source for source in of_row if last[source] == row}
        passing = {lane[value] for value in alive - ends}
        before = {lane[source] for source in of_row}
        lane[row] = _lane(passing, [lane[source] for source in sorted(ends)])
        goes_on = row in last
        rows.append((sorted(before), sorted(passing), lane[row], goes_on))
        alive = (alive - ends) | ({row} if goes_on else set())
    width = LANE * (1 + min(MOST_LANES, 1 + max(lane.values())))
    return [_rail(*row, width) for row in rows]


def _lane(taken: set[int], preferred: Sequence[int]) -> int:
    """The first lane of a source that ends here, else the first free one."""
    candidates = [at for at in preferred if at not in taken]
    return candidates[0] if candidates else min(set(range(len(taken) + 1)) - taken)


def _rail(before: Sequence[int], passing: Sequence[int], own: int, goes_on: bool, width: int) -> Rail:
    x, middle = _x(own), ROW // 2
    into = [f"M{_x(at)} 0C{_x(at)} {middle // 2} {x} {middle // 2} {x} {middle}" for at in before]
    along = [f"M{_x(at)} 0V{ROW}" for at in passing]
    out = [f"M{x} {middle}V{ROW}"] if goes_on else []
    return Rail("".join([*along, *into, *out]), x, width)


def _x(lane: int) -> int:
    return LANE * (1 + min(lane, MOST_LANES - 1))
