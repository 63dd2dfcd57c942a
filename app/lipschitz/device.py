"""Where new tensors go, and that their arithmetic is the one that proofs count on.

A mode is entered only where it changes something, since it slows every call of torch.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

LEAST_NORMAL = 2.0**-1022


def on_fastest() -> AbstractContextManager[object]:
    """The GPU where there is one."""
    return torch.device("cuda") if torch.cuda.is_available() else nullcontext()


def on_cpu() -> AbstractContextManager[object]:
    """The CPU, for small work step by step."""
    return nullcontext() if torch.get_default_device().type == "cpu" else torch.device("cpu")


def make_exact() -> None:
    """Turn off whatever makes this process's arithmetic less than IEEE 754's; RuntimeError where that does not help.

    TF32 rounds float32 alone, which no proof computes in; it is off so that nothing else has to be known of it.
    """
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.set_float32_matmul_precision("highest")
    torch.set_flush_denormal(False)
    if modes := inexact_modes():
        raise RuntimeError(f"arithmetic is not IEEE 754's: {', '.join(modes)}")


def inexact_modes() -> list[str]:
    """The modes in which no proof would hold, of those that are on."""
    half = torch.tensor(LEAST_NORMAL, dtype=torch.float64, device="cpu") * 0.5  # its bits: comparing flushes, too
    modes = {
        "TF32 in matrix products": torch.backends.cuda.matmul.allow_tf32,
        "TF32 in convolutions": torch.backends.cudnn.allow_tf32,
        "float32 products of less than float32's precision": torch.get_float32_matmul_precision() != "highest",
        "subnormal numbers flushed to zero": int(half.view(torch.int64)) == 0,
    }
    return [name for name, is_on in modes.items() if is_on]
