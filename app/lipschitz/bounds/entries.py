"""Enclosures of every entry of the Jacobian."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Entries:
    """`lower <= d f_i / d x_j <= upper` at every point of the domain, `(m, n)` each; ends may be infinite.

    So are the entries of a matrix J with f(x) - f(y) = J (x - y), for any two of its points. `sums`, `(m,)`, are at
    least the sums of magnitudes in its rows, where more is known of these than what follows entry by entry.
    """

    lower: Tensor
    upper: Tensor
    sums: Tensor | None = None

    @property
    def magnitude(self) -> Tensor:
        """The largest |d f_i / d x_j|, `(m, n)`."""
        return torch.maximum(self.lower.abs(), self.upper.abs())

    def met(self, other: Entries) -> Entries:
        """What both enclose."""
        known = [sums for sums in (self.sums, other.sums) if sums is not None]
        least = torch.stack(known).amin(0) if known else None
        return Entries(torch.maximum(self.lower, other.lower), torch.minimum(self.upper, other.upper), least)

    def columns(self, chosen: Tensor) -> Entries:
        """Those of some inputs, `(n,)` booleans."""
        return Entries(self.lower[:, chosen], self.upper[:, chosen], self.sums)
