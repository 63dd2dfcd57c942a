"""The closed form of `start.py` for wide chains, by factorisations of what `elimination.py` leaves."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse.linalg import ArpackError, LinearOperator, eigsh
from torch import Tensor

from app.lipschitz.deadline import NEVER, Deadline
from app.lipschitz.lipsdp.deep.elimination import Reduction, eliminated
from app.lipschitz.lipsdp.deep.plain_chain import Layer, PlainChain
from app.lipschitz.lipsdp.start import ROOM
from app.lipschitz.operators.gram import deterministic_start

_OVER = 1.2
"""How far an eigenvalue may lie above its estimate; the closed form has room for twice as much."""
_DIRECT = 64


def wide_start(chain: PlainChain, deadline: Deadline = NEVER) -> tuple[float, Tensor] | None:
    """rho and t `(M,)` with S positive definite, one multiplier a layer; None where rounding spoils it.

    OutOfTime at the deadline.
    """
    try:
        return _start(chain, deadline)
    except (torch.linalg.LinAlgError, ArpackError):  # type: ignore[attr-defined]
        return None


def _start(chain: PlainChain, deadline: Deadline) -> tuple[float, Tensor]:
    found: list[Tensor] = []
    for count, layer in enumerate(chain.layers):
        largest = _OVER * _largest(chain.first(count), torch.cat([layer.lower.new_zeros(0), *found]), layer, deadline)
        found.append(torch.full_like(layer.lower, 1.0 / (4.0 * largest) if largest > 0.0 else 1.0))
    tau = torch.cat(found)
    deadline.check()
    solution = _factorised(chain, tau).solve_last(chain.output.T)
    scale = ROOM * max(float(torch.linalg.eigvalsh(chain.output @ solution[-1])[-1]), 1e-30)
    return scale, tau * scale


def _factorised(chain: PlainChain, tau: Tensor) -> Reduction:
    blocks = chain.blocks(1.0, tau)
    found = Reduction.of(blocks, eliminated(blocks.widths, [dense is None for dense in blocks.dense]))
    if found is None:
        raise torch.linalg.LinAlgError("the closed form is not feasible")  # type: ignore[attr-defined]
    return found


def _largest(before: PlainChain, tau: Tensor, layer: Layer, deadline: Deadline) -> float:
    """lambda_max(R W P^-1 W^T R), about, P being the Schur complement of what the layer reads."""
    rows = ((layer.upper - layer.lower) / 2.0)[:, None] * layer.weight
    deadline.check()
    known = _factorised(before, tau)
    if len(rows) <= _DIRECT:
        return float(torch.linalg.eigvalsh(rows @ known.solve_last(rows.T)[-1])[-1])

    def product(v: NDArray[np.float64]) -> NDArray[np.float64]:
        deadline.check()
        right = rows.T @ torch.from_numpy(np.ascontiguousarray(v)).reshape(-1, 1)
        return (rows @ known.solve_last(right)[-1])[:, 0].numpy()

    operator = LinearOperator((len(rows), len(rows)), matvec=product, dtype=np.float64)
    first = deterministic_start(len(rows), rows).numpy()
    return float(eigsh(operator, k=1, tol=1e-2, v0=first, return_eigenvectors=False)[0])
