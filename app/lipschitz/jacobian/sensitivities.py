"""What the result tells of single derivatives, and what the gate makes of it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...contract.question import Direction, Gate
from ...contract.result import Ends, RankView, SensitivitiesView, Sign, Verdict, ViolationView
from ..bounds.entries import Entries
from ..problem import Estimate, Problem
from ..request import JACOBIAN, Request
from .attained import Attained, attained
from .jacobian import without_maxima
from .names import Names

MOST_INLINE = 50_000
"""Derivatives that a result holds; of more it has the ranking and the counts."""
FEW = 1_000
"""Derivatives that a result holds where nobody asked for them by name."""
MOST_RANKED = 1_000
MOST_VIOLATIONS = 20
MOST_COORDINATES = 20_000
"""Of a violation's point."""
SIGNS: tuple[Sign, ...] = ("0", "+", "-", "?")


@dataclass(frozen=True, eq=False)
class Sensitivities:
    """Enclosures of all derivatives, what points attain, and the names of rows and columns."""

    entries: Entries
    attained: Attained | None
    names: Names

    def verdicts(self, gate: Gate) -> Iterator[tuple[Verdict, ViolationView | None]]:
        """Of every limit about single derivatives."""
        for place, direction in self.names.by_place(gate.monotone or {}, "monotone").items():
            yield self._monotone(place, direction)
        for place, limit in self.names.by_place(gate.max_sensitivity or {}, "max_sensitivity").items():
            yield self._at_most(place, limit)

    def _monotone(self, place: int, direction: Direction) -> tuple[Verdict, ViolationView | None]:
        """Pass where no output's derivative can have the other sign, fail where one has."""
        falls, rises = -self.entries.lower[:, place], self.entries.upper[:, place]
        possible = {"+": falls, "-": rises, "0": torch.maximum(falls, rises)}[direction]
        if bool((possible <= 0.0).all()):
            return "pass", None
        return self._failed("monotone", place, 0.0, falls=direction != "-", rises=direction != "+")

    def _at_most(self, place: int, limit: float) -> tuple[Verdict, ViolationView | None]:
        if bool((self.entries.magnitude[:, place] <= limit).all()):
            return "pass", None
        return self._failed("max_sensitivity", place, limit, falls=True, rises=True)

    def _failed(
        self, name: str, place: int, limit: float, *, falls: bool, rises: bool
    ) -> tuple[Verdict, ViolationView | None]:
        """The derivative furthest beyond the limit that a point attains, among those of the signs that count."""
        attained = self.attained
        if attained is None:
            return "inconclusive", None
        down = -attained.lower[:, place] if falls else torch.full_like(attained.lower[:, place], -math.inf)
        up = attained.upper[:, place] if rises else torch.full_like(attained.upper[:, place], -math.inf)
        both = torch.stack([down, up])
        if not float(both.max()) > limit:
            return "inconclusive", None
        side, row = divmod(int(both.argmax()), both.shape[1])
        at = (attained.upper_at if side else attained.lower_at)[row, place]
        point = attained.points[int(at)]
        return "fail", ViolationView(
            limit=name,
            input=self.names.inputs[place],
            output=self.names.outputs[row],
            value=float(both[side, row]) * (1.0 if side else -1.0),
            point=point.tolist() if len(point) <= MOST_COORDINATES else [],
        )

    def record(self, violations: Sequence[ViolationView]) -> SensitivitiesView:
        m, n = self.entries.lower.shape
        is_inline, signs = m * n <= MOST_INLINE, _signs(self.entries)
        attained = self.attained if is_inline else None
        many = f"{m} x {n} derivatives are too many for a result, which holds {MOST_INLINE} at most"
        return SensitivitiesView(
            input_names=list(self.names.inputs) if is_inline else [],
            output_names=list(self.names.outputs),
            lower=_plain(self.entries.lower) if is_inline else None,
            upper=_plain(self.entries.upper) if is_inline else None,
            attained_lower=None if attained is None else _plain(attained.lower),
            attained_upper=None if attained is None else _plain(attained.upper),
            sign=[[SIGNS[code] for code in row] for row in signs.tolist()] if is_inline else None,
            counts={sign: int((signs == code).sum()) for code, sign in enumerate(SIGNS)},
            ranking=self._ranking(),
            violations=list(violations)[:MOST_VIOLATIONS],
            omitted=None if is_inline else many,
        )

    def _ranking(self) -> list[RankView]:
        bounds, rows = self.entries.magnitude.max(0)
        order = bounds.argsort(descending=True, stable=True)[:MOST_RANKED].tolist()
        reached = None if self.attained is None else self.attained.magnitude.amax(0)
        return [
            RankView(
                index=place,
                name=self.names.inputs[place],
                bound=_finite(float(bounds[place])),
                attained=None if reached is None else float(reached[place]),
                output=self.names.outputs[int(rows[place])],
            )
            for place in order
        ]


def sensitivities(problem: Problem, request: Request, estimates: Sequence[Estimate]) -> Sensitivities | None:
    """What was found of single derivatives, and what points attain of it; None where none were bounded or wanted."""
    entries = next((one.entries for one in estimates if one.method == JACOBIAN and one.entries is not None), None)
    if entries is None or (not request.needs_jacobian and entries.lower.numel() > FEW):
        return None
    reached = attained(problem, without_maxima(problem.network), entries, problem.deadline)
    return Sensitivities(entries, reached, Names.of(problem, request))


def _signs(entries: Entries) -> Tensor:
    """Places in SIGNS, `(m, n)`."""
    never_below, never_above = entries.lower >= 0.0, entries.upper <= 0.0
    one = torch.where(never_below, 1, torch.where(never_above, 2, 3))
    return torch.where(never_below & never_above, 0, one)


def _plain(matrix: Tensor) -> Ends:
    return [[_finite(value) for value in row] for row in matrix.tolist()]


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
