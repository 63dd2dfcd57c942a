"""The certified bound that every network has: the norm of an enclosure of its Jacobian, entry by entry.

Interval products first, which always end; then all vertices where few neurons are open, or linear bounds of the network
read backwards. What is found along the way is kept: each step meets the ones before. Sources: Zhang et al., RecurJac,
AAAI 2019; Shi et al., NeurIPS 2022.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch

from ...contract.options import JacobianOptions
from ..bounds.entries import Entries
from ..bounds.linear import ranges
from ..deadline import OutOfTime
from ..errors import MethodSkipped
from ..network.intervals import Interval
from ..network.maxima import is_maximum, written_out
from ..network.nodes import Change, Network, Node, Nonlinear
from ..network.propagation import of_domain
from ..problem import Details, Estimate, Problem
from .enclosure import by_intervals, by_lines
from .norms import largest_norm
from .vertices import by_vertices

MOST_ENTRIES = 2**24
"""Of a Jacobian: both ends take 256 MiB."""
VERTICES = 0.5
"""Part of the time for all vertices, where they are few."""


def jacobian(problem: Problem, options: JacobianOptions) -> Estimate:
    """The norm of the enclosure, with the enclosure itself."""
    mine = problem.until(problem.deadline_within(options.seconds))
    m, n = mine.network.output.size, mine.network.input.size
    if m * n > MOST_ENTRIES:
        raise MethodSkipped(f"the Jacobian has {m} x {n} entries: at most {MOST_ENTRIES} are bounded one by one")
    entries, details = enclosed(mine)
    moving = of_domain(mine.domain, n).varying
    value = largest_norm(entries.columns(moving), mine.p, mine.deadline)
    if math.isinf(value):
        return Estimate("jacobian", None, "skipped", _without_bound(mine, entries), details, entries=entries)
    return Estimate("jacobian", value, details=details, entries=entries)


def enclosed(problem: Problem) -> tuple[Entries, Details]:
    """The closest enclosure within the deadline, and how it was found."""
    network = without_maxima(problem.network)
    known = problem.local.intervals if network is problem.network else _ranges(network, problem)
    with torch.no_grad():
        entries = by_intervals(network, known, problem.deadline)
        if bool(torch.isfinite(entries.magnitude).all()):
            closer = _by_vertices(problem, network, known)
            if closer is not None:
                return entries.met(closer), {"way": "vertices"}
        try:
            return by_lines(network, known, entries, problem.deadline), {"way": "linear bounds"}
        except OutOfTime:
            return entries, {"way": "intervals"}


def _by_vertices(problem: Problem, network: Network, known: Mapping[Node, Interval]) -> Entries | None:
    """None too where half of the time was not enough for them."""
    try:
        return by_vertices(problem.until(problem.deadline.share(VERTICES)), network, known)
    except OutOfTime:
        return None


def without_maxima(network: Network) -> Network:
    """The network with maxima written out as rectifiers; itself where there is none, or two networks are compared."""
    if any(isinstance(node, Change) for node in network.nodes) or not any(map(is_maximum, network.nodes)):
        return network
    return Network(written_out(network.nodes).nodes)


def _ranges(network: Network, problem: Problem) -> Mapping[Node, Interval]:
    return ranges(network, problem.domain, problem.deadline)


def _without_bound(problem: Problem, entries: Entries) -> str:
    """Which nodes have no bounded derivative."""
    known = problem.local.intervals
    for node in problem.network.nodes:
        if (
            isinstance(node, Nonlinear)
            and node.partials is None
            and not math.isfinite(problem.local.constant(node, "inf"))
        ):
            names = ", ".join(origin.name for origin in node.origins)
            return f"{names} ({', '.join(origin.op for origin in node.origins)}) has no rule for its derivatives here"
    unbounded = int((~torch.isfinite(entries.magnitude)).sum())
    loose = next((n for n in problem.network.nodes[1:] if not bool(torch.isfinite(known[n].magnitude).all())), None)
    names = "" if loose is None else f", since {', '.join(origin.name for origin in loose.origins)} is not bounded"
    return f"{unbounded} of {entries.lower.numel()} derivatives have no finite bound on this domain{names}"
