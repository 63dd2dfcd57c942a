"""Linear operators between flat real vector spaces, their algebra and their certified norms."""

from app.lipschitz.operators.adjoint import adjoint
from app.lipschitz.operators.algebra import add, compose, scale, stack
from app.lipschitz.operators.base import LinearOperator, Shape
from app.lipschitz.operators.composite import Adjoint, Composed, Stack, Sum
from app.lipschitz.operators.convolution import Convolution
from app.lipschitz.operators.dense import Dense
from app.lipschitz.operators.diagonal import Diagonal
from app.lipschitz.operators.frobenius import frobenius
from app.lipschitz.operators.gather import Gather
from app.lipschitz.operators.norm import Norm, NormBound, norm
from app.lipschitz.operators.power import power_method
from app.lipschitz.operators.reshape import Reshape

__all__ = [
    "Adjoint",
    "Composed",
    "Convolution",
    "Dense",
    "Diagonal",
    "Gather",
    "LinearOperator",
    "Norm",
    "NormBound",
    "Reshape",
    "Shape",
    "Stack",
    "Sum",
    "add",
    "adjoint",
    "compose",
    "frobenius",
    "norm",
    "power_method",
    "scale",
    "stack",
]
