"""The Schur matrix of a deep chain, row of blocks by row of blocks.

The forms of `forms.py` between two layers follow from those between nearer ones by one small product each, since
both the inverse of S and the completed Z are semiseparable: N^2 n operations in all, and no matrix but the Schur
matrix is as large as the chain.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from app.lipschitz.lipsdp.deep.plain_chain import PlainChain
from app.lipschitz.lipsdp.deep.tridiagonal import Semiseparable


@dataclass(frozen=True, eq=False)
class _Rows:
    """Rows of a matrix D of some variables: their entries with the neurons z_j and, `pre`, with v_j."""

    own: Tensor
    pre: Tensor

    def through(self, weight: Tensor) -> _Rows:
        """A linear map of the variables."""
        return _Rows(weight @ self.own, weight @ self.pre)

    def less(self, slope: Tensor, other: _Rows) -> _Rows:
        """These rows without `slope` `(r,)` times others."""
        return _Rows(
            torch.addcmul(self.own, slope[:, None], other.own, value=-1.0),
            torch.addcmul(self.pre, slope[:, None], other.pre, value=-1.0),
        )

    def against(self, slope: Tensor) -> Tensor:
        """Entries with z_j less `slope` times v_j."""
        return torch.addcmul(self.own, self.pre, slope, value=-1.0)


def schur(chain: PlainChain, x: Semiseparable, z: Semiseparable) -> Tensor:
    """The upper triangle of the Schur matrix of (rho, t), `(M + 1, M + 1)`, without s / t on its diagonal."""
    lower, upper = chain.slopes
    size = len(lower) + 1
    found = lower.new_empty(size, size)
    last = size
    for layer, (here_x, before_x), (here_z, before_z) in zip(
        reversed(chain.layers), _rows(chain, x), _rows(chain, z), strict=True
    ):
        first = last - len(layer.weight)
        low, high = lower[first - 1 :], upper[first - 1 :]
        pre_x, pre_z = before_x.through(layer.weight), before_z.through(layer.weight)
        ux, wx = here_x.less(layer.lower, pre_x), here_x.less(layer.upper, pre_x)
        uz, wz = here_z.less(layer.lower, pre_z), here_z.less(layer.upper, pre_z)
        block = torch.mul(wz.against(high), ux.against(low), out=found[first:last, first:])
        block.addcmul_(uz.against(low), wx.against(high))
        block.addcmul_(wz.against(low), ux.against(high))
        block.addcmul_(uz.against(high), wx.against(low))
        last = first
    border = before_x.against(lower) * before_z.against(upper) + before_x.against(upper) * before_z.against(lower)
    found[0, 1:] = border.sum(0)
    found[0, 0] = (x.diagonal[0] * z.diagonal[0]).sum()
    return found


def _rows(chain: PlainChain, d: Semiseparable) -> Iterator[tuple[_Rows, _Rows]]:
    """For every layer, the last one first, the rows of z and those of what it reads, from this layer on."""
    here = _Rows(d.diagonal[-1], d.diagonal[-1][:, :0])
    for k in reversed(range(len(chain.layers))):
        weight, step = chain.layers[k].weight, d.steps[k]
        beside = step @ d.diagonal[k + 1]
        here = _Rows(here.own, torch.cat([beside.T @ weight.T, here.pre], 1))
        own = step @ here.own
        pre = torch.cat([d.diagonal[k] @ weight.T, step @ here.pre[:, len(weight) :]], 1)
        before = _Rows(own, pre)
        yield here, before
        here = _Rows(torch.cat([d.diagonal[k], own], 1), pre)
