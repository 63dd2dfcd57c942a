"""A GPU that is none: tensors that say they are on it, and compute on the CPU.

What it finds is what a GPU would refuse: operands on two devices, a generator of the other device, NumPy on a tensor
that is not the CPU's. It knows nothing of kernels, rounding or memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

_setup_privateuseone_for_python_backend("pretended")
DEVICE = torch.device("pretended", 0)
MIXING = {
    "aten::copy_",
    "aten::_to_copy",
    "aten::index",
    "aten::index_put_",
    "aten::index_put",
    "aten::_index_put_impl_",
}
"""Operators that take operands of two devices."""


class Pretended(Tensor):
    """A tensor on the GPU that is none; `inner` holds its numbers."""

    inner: Tensor

    @staticmethod
    def __new__(cls, real: Tensor) -> Pretended:
        layout = {"strides": real.stride(), "storage_offset": real.storage_offset(), "dtype": real.dtype}
        made = Tensor._make_wrapper_subclass(cls, real.shape, **layout, device=DEVICE, requires_grad=real.requires_grad)
        made.inner = real
        return made

    def __repr__(self, **_: Any) -> str:
        return f"Pretended({self.inner})"

    def tolist(self) -> Any:
        """As every tensor has it; torch's own refuses subclasses."""
        return self.inner.tolist()

    def numpy(self, **_: Any) -> Any:
        """As on a GPU."""
        raise TypeError("can't convert cuda:0 device type tensor to numpy")

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return computed(func, args, kwargs or {})


class Pretence(TorchDispatchMode):
    """While it is entered, `device="cuda"` makes such tensors."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return computed(func, args, kwargs or {})


class Generator(torch.Generator):
    """One of the CPU's that knows where it was asked for."""

    where: str

    def __new__(cls, device: Any = "cpu") -> Generator:
        made = super().__new__(cls, "cpu")
        made.where = torch.device(device).type
        return made


class Draws(TorchFunctionMode):
    """A tensor is drawn by a generator of its own device."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        generator, device = kwargs.get("generator"), torch.device(kwargs.get("device") or "cpu")
        if isinstance(generator, Generator) and generator.where != device.type:
            raise RuntimeError(f"{func}: a generator of the other device")
        return func(*args, **kwargs)


def computed(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """The operator's result on the device where it would be; RuntimeError where there is none."""
    operands = [x for x in tree_flatten((args, kwargs))[0] if isinstance(x, Tensor)]
    is_ours, device = any(isinstance(x, Pretended) for x in operands), kwargs.get("device")
    stray = [x for x in operands if not isinstance(x, Pretended) and x.ndim]
    if is_ours and stray and func._schema.name not in MIXING:
        raise RuntimeError(f"{func}: operands on the GPU and the CPU, of shapes {[tuple(x.shape) for x in operands]}")
    goes = is_ours if device is None else torch.device(device).type == "pretended"
    named = kwargs | ({} if device is None else {"device": torch.device("cpu")})
    result = func(*tree_map(_real, args), **tree_map(_real, named))
    if func._schema.is_mutable and func._schema.name.endswith("_"):
        return args[0]
    if "out" in kwargs:
        return kwargs["out"]
    return tree_map(lambda x: Pretended(x) if isinstance(x, Tensor) else x, result) if goes else result


def _real(x: Any) -> Any:
    return x.inner if isinstance(x, Pretended) else x


@contextmanager
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The library sees a GPU."""
    from app.lipschitz import analysis
    from app.lipschitz.lower import search

    torch._C._set_only_lift_cpu_tensors(True)  # `torch.tensor` moves what it makes where modes see it
    with monkeypatch.context() as patched, Pretence(), Draws():
        patched.setattr(analysis, "on_fastest", lambda: torch.device(DEVICE))
        patched.setattr(search, "Generator", Generator)
        patched.setattr(torch, "Generator", Generator)
        try:
            yield
        finally:
            torch._C._set_only_lift_cpu_tensors(False)
