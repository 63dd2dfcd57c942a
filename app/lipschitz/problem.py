"""What every method gets, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from torch import Tensor

from app.lipschitz.artifact.captured import Captured
from app.lipschitz.certificate.claims import Claim
from app.lipschitz.dataset import Dataset
from app.lipschitz.deadline import Deadline
from app.lipschitz.domain import Domain
from app.lipschitz.methods.local import Local
from app.lipschitz.network.nodes import Network
from app.lipschitz.operators.base import LinearOperator
from app.lipschitz.operators.norm import Norm, NormBound, norm

Progress = Callable[[dict[str, object]], None]


@dataclass(frozen=True, eq=False)
class Problem:
    """One network, one norm, one domain; `norm_of` computes each operator's norm once for all methods."""

    captured: Captured
    network: Network
    p: Norm
    domain: Domain
    seed: int
    deadline: Deadline
    progress: Progress
    dataset: Dataset | None = None
    _norms: dict[LinearOperator, NormBound] = field(default_factory=dict)

    @cached_property
    def local(self) -> Local:
        """The constants of nonlinear nodes on the domain."""
        return Local(self.network, self.domain)

    def norm_of(self, operator: LinearOperator) -> NormBound:
        """Certified upper and witnessed lower p-norm of an operator."""
        if operator not in self._norms:
            self._norms[operator] = norm(operator, self.p)
        return self._norms[operator]


@dataclass(frozen=True, eq=False)
class Witness:
    """Two flat inputs; `value` is a safe lower bound of ||f(x) - f(y)||_p / ||x - y||_p."""

    x: Tensor
    y: Tensor
    value: float


@dataclass(frozen=True, eq=False)
class Estimate:
    """One method's answer; `value` is None when the method has none, with the reason.

    `claims`, piece by piece from the input to the output, are what a certificate of the value rests on.
    """

    method: str
    value: float | None
    status: Literal["ok", "skipped", "failed"] = "ok"
    reason: str | None = None
    details: dict[str, Any] = field(default_factory=dict)
    layers: list[dict[str, Any]] = field(default_factory=list)
    witness: Witness | None = None
    claims: Sequence[Claim] = ()
