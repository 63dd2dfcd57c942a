"""Convolutions for tests: built from their settings, at random, and by hypothesis."""

import torch
from hypothesis import strategies as st

from app.lipschitz.operators import Convolution
from app.lipschitz.operators.convolution import output_side


def convolution(
    spatial: tuple[int, ...],
    kernel: torch.Tensor,
    *,
    stride: tuple[int, ...] | None = None,
    padding: tuple[tuple[int, int], ...] | None = None,
    dilation: tuple[int, ...] | None = None,
    groups: int = 1,
    images: int = 1,
) -> Convolution:
    d = len(spatial)
    stride, dilation, padding = stride or (1,) * d, dilation or (1,) * d, padding or ((0, 0),) * d
    sides = [output_side(*dim) for dim in zip(spatial, kernel.shape[2:], stride, padding, dilation, strict=True)]
    channels = kernel.shape[1] * groups
    return Convolution(
        (images, channels, *spatial),
        (images, kernel.shape[0], *sides),
        kernel,
        stride,
        padding,
        dilation,
        groups,
    )


@st.composite
def convolutions(draw: st.DrawFn, dimensions: int) -> Convolution:
    """Any valid convolution with a dense matrix of a few hundred rows and columns."""

    def each(low: int, high: int) -> tuple[int, ...]:
        return tuple(draw(st.integers(low, high)) for _ in range(dimensions))

    largest = {1: 24, 2: 8, 3: 4}[dimensions]
    groups = draw(st.integers(1, 3))
    c_in, c_out = draw(st.integers(1, 3)), draw(st.integers(1, 3)) * groups
    taps, stride, dilation = each(1, 4), each(1, 3), each(1, 2)
    padding = tuple(zip(each(0, 4), each(0, 4), strict=True))
    # Large enough that there is at least one output.
    least = [max(1, d * (k - 1) + 1 - sum(p)) for d, k, p in zip(dilation, taps, padding, strict=True)]
    spatial = tuple(draw(st.integers(low, max(low, largest))) for low in least)
    seed = draw(st.integers(0, 2**31))
    kernel = torch.randn(c_out, c_in, *taps, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return convolution(spatial, kernel, stride=stride, padding=padding, dilation=dilation, groups=groups)
