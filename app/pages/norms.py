"""The norms of a question in words."""

from __future__ import annotations

from ..contract.question import Question

NORMS = {"1": "1-norm", "2": "2-norm", "inf": "maximum norm"}


def norms(request: Question) -> str:
    """For both spaces, or each."""
    if isinstance(request.norm, str):
        return NORMS[request.norm]
    return f"from the {NORMS[request.norm.input]} to the {NORMS[request.norm.output]}"


def sizes(request: Question) -> str:
    """In what a change of the input and one of the output are measured."""
    if isinstance(request.norm, str):
        return f"both in the {NORMS[request.norm]}"
    return f"in the {NORMS[request.norm.input]} and the {NORMS[request.norm.output]}"
