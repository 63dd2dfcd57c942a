"""Coordinates in which the first layer is as steep one way as another: x = c + (W^T W)^(-1/2) y.

Trained first layers have singular values over several decades, and a step of some length in x changes the phases of
neurons in the few steepest directions only. Singular values are raised to FLOOR of the largest.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..network.nodes import Affine, Network
from ..operators.composite import leaves, work

FLOOR = 0.01
"""Least singular value that counts, relative to the largest."""

MOST_INPUTS, MOST_SIDE, MOST_WORK = 4096, 1024, 1e9
"""Inputs, smaller side of the first layer and multiplications to its matrix, beyond which x stays as it is."""


@dataclass(frozen=True, eq=False)
class Coordinates:
    """x = centre + y / floor + V diag(gains) V^T y, with V `(n, k)`; without V, x = centre + y."""

    centre: Tensor
    basis: Tensor | None = None
    gains: Tensor | None = None

    def points(self, y: Tensor) -> Tensor:
        """The points x of coordinates y, `(B, n)` each."""
        if self.basis is None or self.gains is None:
            return self.centre + y
        return self.centre + y / FLOOR + (y @ self.basis * self.gains) @ self.basis.T

    def of_points(self, x: Tensor) -> Tensor:
        """The coordinates y of points x."""
        away = x - self.centre
        if self.basis is None or self.gains is None:
            return away
        inverse = 1.0 / (self.gains + 1.0 / FLOOR) - FLOOR
        return away * FLOOR + (away @ self.basis * inverse) @ self.basis.T


def whitened(network: Network) -> Coordinates | None:
    """About the origin, by the singular values of what reads the input; None where that is no moderate matrix."""
    readers = [node for node in network.nodes if network.input in node.sources]
    if len(readers) != 1 or not isinstance(readers[0], Affine) or len(readers[0].terms) != 1:
        return None
    operator = readers[0].terms[0].operator
    side = min(operator.in_size, operator.out_size)
    is_layer = len(leaves(operator)) == 1 or operator.in_size <= MOST_SIDE
    if operator.in_size > MOST_INPUTS or side > MOST_SIDE or not is_layer or side * work(operator) > MOST_WORK:
        return None
    return of_matrix(operator.as_matrix())


def of_matrix(matrix: Tensor) -> Coordinates | None:
    """The same from the layer's matrix `(m, n)`, by the eigenvectors of its smaller Gram matrix."""
    size = float(matrix.abs().max())
    if not 0.0 < size < float("inf"):
        return None
    scaled = matrix / size
    is_wide = scaled.shape[0] <= scaled.shape[1]
    squares, vectors = torch.linalg.eigh(scaled @ scaled.T if is_wide else scaled.T @ scaled)
    kept = squares > FLOOR**2 * squares[-1]
    singular, vectors = squares[kept].sqrt(), vectors[:, kept]
    basis = scaled.T @ vectors / singular if is_wide else vectors
    return Coordinates(matrix.new_zeros(()), basis, singular[-1] / singular - 1.0 / FLOOR)
