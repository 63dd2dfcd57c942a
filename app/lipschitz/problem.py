"""What every method gets, and what it gives back."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

from torch import Tensor

from ..contract.domain import ALL, Target
from ..contract.result import OutputView
from .artifact.captured import Captured
from .bounds.entries import Entries
from .bounds.local import Local
from .claims import Claim
from .dataset import Dataset
from .deadline import Deadline
from .domain import Domain
from .network.nodes import Network
from .network.units import Units
from .operators.base import LinearOperator
from .operators.embedding import embedding
from .operators.norm import Norm, NormBound
from .operators.norms import Norms
from .operators.rounding import up_mul

Details = dict[str, Any]
"""What a method tells of its work beside its number: plain values by name."""
Progress = Callable[[dict[str, object]], None]


@dataclass(frozen=True, eq=False)
class Problem:
    """One network, a norm for each space, one domain; `norm_of` proves each operator's norm once for all methods.

    No method works beyond `deadline`. The network is that of the captured graph's `outputs`, all of them for None, with
    the request's `target` after them. `ceiling` is the least certified bound so far: a search that attains it may end.
    `floor` is the best pair so far.
    """

    captured: Captured
    network: Network
    p: Norm
    domain: Domain
    seed: int
    deadline: Deadline
    progress: Progress
    dataset: Dataset | None = None
    norms: Norms = field(default_factory=Norms)
    outputs: Sequence[int] | None = None
    target: Target = ALL
    ceiling: float = math.inf
    units: Units | None = None
    floor: Witness | None = None
    q: Norm | None = None
    """The output's norm where it is not the input's, `p`."""
    output: OutputView | None = None
    """What was bounded in place of outputs that jump, as the result tells it."""

    @property
    def output_norm(self) -> Norm:
        """That of the output space."""
        return self.q or self.p

    @cached_property
    def local(self) -> Local:
        """The constants of nonlinear nodes on the domain."""
        return Local(self.network, self.domain, self.deadline)

    def norm_of(self, operator: LinearOperator) -> NormBound:
        """Certified upper and witnessed lower p-norm of an operator, as good as the deadline allows."""
        return self.norms.of(operator, self.p, self.deadline)

    def deadline_within(self, seconds: float, share: float = 1.0) -> Deadline:
        """Until when a method works that may take `seconds`, and that `share` of the time left."""
        return self.deadline.share(share).within(seconds)

    def in_norms(self, r: Norm, s: Norm) -> Problem:
        """The same function and domain from the norm r to the norm s, with nothing known of the bracket."""
        twin = replace(self, p=r, q=None if r == s else s, norms=Norms(), ceiling=math.inf, floor=None)
        twin.__dict__["local"] = self.local
        return twin

    def carried(self, r: Norm, s: Norm) -> float:
        """What a constant from r to s is multiplied by to be one in this problem's norms."""
        first, last = self.network.input.size, self.network.output.size
        return up_mul(embedding(first, self.p, r), embedding(last, s, self.output_norm))

    def until(self, deadline: Deadline, floor: Witness | None = None) -> Problem:
        """The same problem, with all that is known of it, for a method that has to end sooner."""
        twin = replace(self, deadline=deadline, floor=floor or self.floor)
        twin.__dict__["local"] = self.local
        return twin


@dataclass(frozen=True, eq=False)
class Witness:
    """Two flat inputs; `value` is a safe lower bound of ||f(x) - f(y)||_q / ||x - y||_p, which may be `error` more."""

    x: Tensor
    y: Tensor
    value: float
    error: float = 0.0


@dataclass(frozen=True, eq=False)
class Estimate:
    """One method's answer; `value` is None when the method has none, with the reason.

    `claims`, piece by piece from the input to the output, are what a certificate of the value rests on;
    `entries`, where they were bounded, those of the Jacobian.
    """

    method: str
    value: float | None
    status: Literal["ok", "skipped", "failed"] = "ok"
    reason: str | None = None
    details: Details = field(default_factory=dict)
    layers: list[Details] = field(default_factory=list)
    witness: Witness | None = None
    claims: Sequence[Claim] = ()
    through: tuple[Norm, Norm] | None = None
    """The norms that the claims are in, where the request's two are bounded by way of others."""
    entries: Entries | None = None
