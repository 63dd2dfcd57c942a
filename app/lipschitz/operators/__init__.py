"""Linear operators between flat real vector spaces, their algebra and their certified norms."""

from .adjoint import adjoint
from .algebra import add, compose, scale, stack
from .base import LinearOperator, Shape
from .composite import Adjoint, Composed, Stack, Sum
from .convolution import Convolution
from .dense import Dense
from .diagonal import Diagonal
from .frobenius import frobenius
from .gather import Gather
from .norm import Norm, NormBound, norm
from .power import power_method
from .reshape import Reshape

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
