"""What an error really was: torch, onnxruntime and TorchScript's interpreter wrap the cause in words of their own."""

from __future__ import annotations

from collections.abc import Iterator

import torch

EXHAUSTED = ("can't allocate memory", "bad_alloc", "failed to allocate memory", "not enough memory")
FORBIDDEN = ("Permission denied", "Operation not permitted")


def is_exhaustion(error: BaseException) -> bool:
    """Whether this error, or one that it came from, is a failed allocation."""
    return any(
        isinstance(cause, MemoryError | torch.OutOfMemoryError) or any(word in str(cause).lower() for word in EXHAUSTED)
        for cause in _chain(error)
    )


def forbidden_attempt(error: BaseException) -> str:
    """The line that says what confinement did not allow; empty where that was not the cause."""
    lines = (line for cause in _chain(error) for line in str(cause).splitlines())
    return next((line.strip() for line in lines if any(word in line for word in FORBIDDEN)), "")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
