"""The captured graph as data: what the capture of a model hands over, and all that a bound is computed from."""

from .captured import Captured, InputShapes, Inspection, Origin, TensorSpec
from .reading import from_bytes
from .writing import digest, to_bytes

__all__ = [
    "Captured",
    "InputShapes",
    "Inspection",
    "Origin",
    "TensorSpec",
    "digest",
    "from_bytes",
    "to_bytes",
]
