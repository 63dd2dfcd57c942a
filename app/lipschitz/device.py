"""Where new tensors go. A mode is entered only where it changes something, since it slows every call of torch."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch


def on_fastest() -> AbstractContextManager[object]:
    """The GPU where there is one."""
    return torch.device("cuda") if torch.cuda.is_available() else nullcontext()


def on_cpu() -> AbstractContextManager[object]:
    """The CPU, for small work step by step."""
    return nullcontext() if torch.get_default_device().type == "cpu" else torch.device("cpu")
