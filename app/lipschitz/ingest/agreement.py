"""Runs the original and the traced graph side by side, for `artifact.agreement` to compare."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor
from torch.fx import GraphModule, Interpreter

from ..artifact.agreement import Run
from ..errors import InvalidModel, LipschitzError
from .messages import last_line
from .program import Function


def run_both(traced: GraphModule, reference: Function, samples: Iterable[Sequence[Tensor]]) -> list[Run]:
    """All that the comparison needs of the original, which may be dropped afterwards, its weights with it.

    Raises InvalidModel when the original cannot be run.
    """
    with torch.no_grad():
        return [Run(x, _original(reference, x), Interpreter(traced).run(*x)) for x in samples]


def _original(reference: Function, inputs: Sequence[Tensor]) -> list[Tensor]:
    try:
        return list(reference(*inputs))
    except LipschitzError:
        raise
    except Exception as error:  # onnxruntime's and TorchScript's own exception types
        raise InvalidModel(f"The original cannot be run on random inputs: {last_line(error)}") from error
