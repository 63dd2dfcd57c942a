"""LipSDP for all differences f_i - f_j of two outputs at once: one system, with another output row for every pair.

[F19] with C replaced by c_i - c_j. The pairs are solved in batches, those with the largest constants by AutoLip
first; what no time is left for keeps AutoLip's constant.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from ...contract.options import LipsdpOptions
from ..bounds.local import Local
from ..deadline import Deadline, Laps
from ..errors import MethodSkipped
from ..network.nodes import Affine, Concat, Network, Node
from ..operators.rounding import UNIT, up_mul
from ..operators.scaling import raised, times
from ..problem import Estimate, Problem
from ..walk.autolip import autolip
from ..walk.margins import PAIR_LENGTH, after_last, estimate, row_differences, uniform
from ..walk.pieces import Piece, constants_within, cuts, joined
from .dense.interior import Iterate, NotPositive, Watch, minimise
from .lipsdp import check, lipsdp
from .planning import planned
from .proof import proved
from .region import Region, region_of
from .semidefinite import FIRST_ITERATION
from .sizes import side
from .start import closed_form
from .system import System

MEMORY = 2**26
"""Numbers that the matrices of one batch may take."""

MATRICES = 20
"""Matrices of the system's size that the interior-point method holds for every problem."""

LARGEST_SIDE = 1500
"""Larger systems are not solved pair by pair: one pair would take minutes."""

SMALL_SIDE = 600
"""Above it the constant of all outputs together is found first, since the pairs may take longer than there is time."""

OUTWARD = 1.0 + 2.0**-48
"""Covers a square root and a product."""


def lipsdp_margins(problem: Problem, options: LipsdpOptions) -> Estimate:
    """The largest of the pairs' certified constants; options as for `lipsdp`."""
    check(problem, options)
    if problem.p != "2":
        raise MethodSkipped(f"LipSDP bounds differences of outputs in the 2-norm, not the {problem.p}-norm")
    deadline = problem.deadline_within(options.seconds)
    last = last_piece(problem, options.split_size)
    is_small = side(last, problem.local) <= SMALL_SIDE
    of_whole = uniform(last.end.size, math.inf) if is_small else _of_whole(problem, options, deadline)
    constants = constants_within(problem, last)
    values = after_last(problem, last.end, constants)
    if is_semidefinite(last, problem.local):
        values = torch.minimum(
            values, _solved(problem, last, constants, known=values, options=options, deadline=deadline)
        )
    elif last.start is problem.network.input and not last.activations:
        raise MethodSkipped("no elementwise activation stands between two affine layers: autolip says all there is")
    factor = _before(problem, last.start, options, deadline)
    details = {"form": options.form, "whole": last.start is problem.network.input}
    values = torch.minimum(times(values, factor), of_whole)
    return estimate("lipsdp", values, details)


def _of_whole(problem: Problem, options: LipsdpOptions, deadline: Deadline) -> Tensor:
    """sqrt(2) times the constant of all outputs together: one problem in place of many, `(m, m)`."""
    value = lipsdp(problem, options.model_copy(update={"seconds": deadline.left / 2.0})).value
    return uniform(problem.network.output.size, math.inf if value is None else up_mul(PAIR_LENGTH["2"], value))


def last_piece(problem: Problem, split_size: int) -> Piece:
    """The piece that the outputs leave; an activation of the outputs goes with the layers before it."""
    pieces = planned(cuts(problem.network), split_size, problem.local)
    apart = not any(isinstance(node, Affine | Concat) for node in pieces[-1].nodes)
    if apart and len(pieces) > 1 and all(piece.is_elementwise for piece in pieces[-2:]):
        return joined(pieces[-2:])
    return pieces[-1]


def is_semidefinite(piece: Piece, local: Local) -> bool:
    """Whether LipSDP has something to say about it."""
    return piece.is_elementwise and bool(piece.activations) and side(piece, local) <= LARGEST_SIDE


def _before(problem: Problem, start: Node, options: LipsdpOptions, deadline: Deadline) -> float:
    """The constant of everything before the last piece."""
    nodes = problem.network.nodes
    head = replace(problem, network=Network(nodes[: nodes.index(start) + 1]), progress=lambda _: None)
    if start is head.network.input:
        return 1.0
    try:
        estimate = lipsdp(head, options.model_copy(update={"seconds": deadline.left}))
    except MethodSkipped:
        estimate = autolip(head)
    return math.inf if estimate.value is None else estimate.value


def _solved(
    problem: Problem,
    piece: Piece,
    constants: Mapping[Node, float],
    *,
    known: Tensor,
    options: LipsdpOptions,
    deadline: Deadline,
) -> Tensor:
    """The pairs' constants from the piece's start, `(m, m)`; infinite for those without time."""
    slopes = {node: problem.local.slopes(node) for node in piece.activations}
    by_layer = options.form == "layer"
    region = region_of(piece.start, piece.end, piece.nodes, slopes, constants, by_layer=by_layer)
    if not isinstance(region, Region):
        return row_differences(problem, region)
    first, second = torch.triu_indices(len(known), len(known), 1)
    worst = known[first, second].argsort(descending=True)
    values = torch.full_like(known, math.inf).fill_diagonal_(0.0)
    for part in worst.split(batch_of(region.system)):
        if not deadline.fits(FIRST_ITERATION * len(part) * region.system.size**3):
            break
        i, j = first[part], second[part]
        values[i, j] = values[j, i] = _of_pairs(problem, region, i, j, gap=options.gap, deadline=deadline)
    return values


def batch_of(system: System) -> int:
    """How many problems of the system's size fit into memory at once."""
    return max(1, MEMORY // (MATRICES * system.size**2))


def _of_pairs(problem: Problem, region: Region, i: Tensor, j: Tensor, *, gap: float, deadline: Deadline) -> Tensor:
    """The constants of some pairs, `(P,)`."""

    laps = Laps(deadline)

    def watch(now: Iterate) -> bool:
        problem.progress({"method": "lipsdp", "phase": "solving pairs", "gap": float(now.gap.max())})
        return laps.is_last()

    return least_constants(between(region.system, i, j), region, gap, watch)


def between(system: System, i: Tensor, j: Tensor) -> System:
    """The system of every pair's difference of outputs: C is c_i - c_j, `(P, 1, N)`."""
    rows = (system.output[i] - system.output[j])[:, None]
    rounding = UNIT * float(torch.linalg.vector_norm(rows, dim=2).max())
    error = 1.5 * (system.output_error + rounding)
    lower, upper = (end.expand(len(i), -1) for end in (system.lower, system.upper))
    return System(system.inputs, system.blocks, rows, lower, upper, system.groups, error)


def least_constants(system: System, region: Region, gap: float, watch: Watch = lambda _: False) -> Tensor:
    """Certified constants of a batch of systems that differ from the region's in slopes and outputs, `(P,)`."""
    try:
        start = closed_form(system, region.layers)
        iterate = minimise(system, *start, gap=gap, watch=watch)
    except NotPositive:
        return torch.full_like(system.output[:, 0, 0], torch.inf)
    rho, _ = proved(system, iterate.rho, iterate.t, start)
    return raised(rho.sqrt() * OUTWARD, region.exponent)
