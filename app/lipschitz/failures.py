"""Unexpected errors: which of them one method may keep to itself, and which end the job."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import suppress

import torch

from .errors import LipschitzError, is_device_fault

EXHAUSTED = ("can't allocate memory", "bad_alloc", "failed to allocate memory", "not enough memory",
             "cuda error: out of memory", "status_alloc_failed")  # fmt: skip

LONGEST = 500
"""Characters of a reason: torch quotes whole stacks."""


def failure(error: Exception) -> str:
    """The reason to report for an error of our own; its traceback goes to stderr.

    Raises it again where it is none of ours: a refusal of the request, a failed allocation, or a GPU that failed, on
    which no other method would answer either.
    """
    if isinstance(error, LipschitzError) or is_exhaustion(error) or is_device_fault(str(error)):
        raise error
    with suppress(OSError):
        traceback.print_exception(error)
    return f"an unexpected error, a defect of Lipserve: {type(error).__name__}: {error}"[:LONGEST]


def is_exhaustion(error: BaseException) -> bool:
    """Whether this error, or one that it came from, is a failed allocation.

    torch, onnxruntime and TorchScript's interpreter wrap it in words of their own.
    """
    return any(
        isinstance(cause, MemoryError | torch.OutOfMemoryError) or any(word in str(cause).lower() for word in EXHAUSTED)
        for cause in causes(error)
    )


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error, and what it came from, last first."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
