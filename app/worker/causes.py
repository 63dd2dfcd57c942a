"""What an error really was: torch, onnxruntime and TorchScript's interpreter wrap the cause in words of their own."""

from __future__ import annotations

from ..lipschitz.failures import causes, is_exhaustion

__all__ = ["forbidden_attempt", "is_exhaustion"]

FORBIDDEN = ("Permission denied", "Operation not permitted")


def forbidden_attempt(error: BaseException) -> str:
    """The line that says what confinement did not allow; empty where that was not the cause."""
    lines = (line for cause in causes(error) for line in str(cause).splitlines())
    return next((line.strip() for line in lines if any(word in line for word in FORBIDDEN)), "")
