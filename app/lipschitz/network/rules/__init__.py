"""Rules for graph operators, one family a file; importing the package fills the table."""

from . import (
    affine,
    angles,
    attention,
    elementwise,
    merge,
    movement,
    normalization,
    norms,
    pooling,
    power,
    product,
    reduction,
    refused,
    resampling,
    softmax,
)
from .table import RULES

__all__ = [
    "RULES",
    "affine",
    "angles",
    "attention",
    "elementwise",
    "merge",
    "movement",
    "normalization",
    "norms",
    "pooling",
    "power",
    "product",
    "reduction",
    "refused",
    "resampling",
    "softmax",
]
