"""The gate lets rounding pass and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from app.lipschitz.artifact.agreement import check
from app.lipschitz.artifact.captured import Origin
from app.lipschitz.errors import ConversionMismatch, InvalidModel
from app.lipschitz.ingest.agreement import run_both
from app.lipschitz.ingest.promote import promote

Function = Callable[[Tensor], tuple[Tensor, ...]]


def compare(captured: Function, original: Function, seed: int = 0) -> Sequence[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    samples = [[torch.randn(1, 6, generator=generator)] for _ in range(3)]
    traced = make_fx(lambda x: list(captured(x)))(samples[0][0])
    for node in traced.graph.nodes:
        node.meta["origin"] = Origin(node.name, "")
    runs = run_both(traced, original, samples)
    check(promote(traced), runs, ["y", "z"][: len(runs[0].traced)])
    return runs[0].original


def test_the_same_function_passes() -> None:
    w = torch.randn(6, 6, generator=torch.Generator().manual_seed(1))
    (y,) = compare(lambda x: (torch.tanh(x @ w),), lambda x: (torch.tanh(x @ w),))
    assert y.dtype == torch.float32


def test_a_deep_chaotic_network_passes() -> None:
    w = torch.randn(6, 6, generator=torch.Generator().manual_seed(1)) * 1.5

    def deep(x: Tensor) -> tuple[Tensor, ...]:
        for _ in range(4):
            x = torch.sin(2 * x @ w)
        return (x,)

    def reordered(x: Tensor) -> tuple[Tensor, ...]:
        for _ in range(4):
            x = torch.sin(x @ (2 * w))
        return (x,)

    compare(deep, reordered)


@pytest.mark.parametrize("original", [
    lambda x: (torch.nn.functional.gelu(x, approximate="tanh"),),
    lambda x: (torch.nn.functional.gelu(x) * (1 + 1e-4),),
    lambda x: (torch.nn.functional.gelu(x) + 1e-3,),
])  # fmt: skip
def test_other_functions_do_not(original: Function) -> None:
    with pytest.raises(ConversionMismatch, match="differs from the original"):
        compare(lambda x: (torch.nn.functional.gelu(x),), original)


def test_shapes_and_counts() -> None:
    with pytest.raises(ConversionMismatch, match="has shape"):
        compare(lambda x: (x[0],), lambda x: (x,))
    with pytest.raises(ConversionMismatch, match="2 outputs"):
        compare(lambda x: (x,), lambda x: (x, x))


def test_nothing_finite_to_compare() -> None:
    with pytest.raises(InvalidModel, match="NaN"):
        compare(lambda x: (torch.log(-x.abs() - 1),), lambda x: (torch.log(-x.abs() - 1),))


def test_an_original_that_fails() -> None:
    def broken(x: Tensor) -> tuple[Tensor, ...]:
        raise RuntimeError("index out of range")

    with pytest.raises(InvalidModel, match="index out of range"):
        compare(lambda x: (x,), broken)
