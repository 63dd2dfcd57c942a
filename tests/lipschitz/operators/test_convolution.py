"""Convolutions against their dense matrices: the operator, the torus bound, the frequencies' proof."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from app.lipschitz.operators import Adjoint, Convolution, frobenius, norm
from app.lipschitz.operators import convolution_norm as module
from app.lipschitz.operators.convolution_norm import torus_norm
from app.lipschitz.operators.torus import embed
from tests.effort import examples
from tests.lipschitz.operators.convolutions import convolution, convolutions
from tests.lipschitz.operators.operator_battery import check, dense_norms


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def loops(c: Convolution) -> torch.Tensor:
    """The matrix by its definition, entry by entry, for one image and one group."""
    matrix = torch.zeros(c.out_size, c.in_size, dtype=torch.float64)
    shape_in, shape_out = c.in_shape[1:], c.out_shape[1:]
    for o, *j in np.ndindex(*shape_out):
        for i, *t in np.ndindex(*c.kernel.shape[1:]):
            dims = zip(c.stride, j, c.dilation, t, c.padding, strict=True)
            p = [s * a + d * b - lo for s, a, d, b, (lo, _) in dims]
            if all(0 <= q < n for q, n in zip(p, shape_in[1:], strict=True)):
                row = np.ravel_multi_index((o, *j), shape_out)
                column = np.ravel_multi_index((i, *p), shape_in)
                matrix[row, column] += c.kernel[(o, i, *t)]
    return matrix


@pytest.mark.parametrize(
    "c",
    [
        convolution((6,), randn(2, 3, 3)),
        convolution((7,), randn(2, 1, 2), stride=(3,), padding=((2, 1),)),
        convolution((5, 4), randn(2, 2, 3, 2), stride=(2, 1), padding=((1, 2), (0, 1)), dilation=(1, 2)),
        convolution((3, 4, 3), randn(2, 1, 2, 2, 3), padding=((1, 0), (0, 1), (1, 1))),
    ],
    ids=["1d", "strided", "2d", "3d"],
)
def test_the_definition(c: Convolution) -> None:
    matrix = loops(c)
    check(c, matrix)
    check(Adjoint(c), matrix.T)
    want = float(np.linalg.norm(matrix.numpy()))
    assert want * (1 - 1e-14) <= frobenius(c) <= want * (1 + 1e-12)


def test_groups_and_images_are_blocks() -> None:
    kernel = randn(4, 2, 3)
    grouped = convolution((5,), kernel, padding=((1, 1),), groups=2)
    halves = [convolution((5,), part, padding=((1, 1),)) for part in kernel.split(2)]
    matrix = torch.block_diag(*(loops(half) for half in halves))
    check(grouped, matrix)
    twice = convolution((5,), kernel, padding=((1, 1),), groups=2, images=2)
    check(twice, torch.block_diag(matrix, matrix))


def never_below(c: Convolution) -> None:
    matrix = c.as_matrix()
    want = dense_norms(matrix)["2"]
    torus = torus_norm(c)
    assert torus.upper >= want * (1 - 1e-13)
    assert torus.lower <= want * (1 + 1e-13)
    assert torus.lower <= torus.upper
    check(c, matrix, gap=1e-6)
    assert norm(Adjoint(c), "2").upper == norm(c, "2").upper


@given(convolutions(1))
@examples(100)
def test_random_convolutions_1d(c: Convolution) -> None:
    never_below(c)


@given(convolutions(2))
@examples(100)
def test_random_convolutions_2d(c: Convolution) -> None:
    never_below(c)


@given(convolutions(3))
@examples(20)
def test_random_convolutions_3d(c: Convolution) -> None:
    never_below(c)


def test_taps_that_share_a_place_on_the_torus() -> None:
    """A kernel longer than the torus: taps 0 and 2 of the dilated kernel meet at one point of side 4."""
    kernel = torch.tensor([[[1.5, -0.3, -2.1]]], dtype=torch.float64)
    operator = Convolution((1, 1, 3), (1, 1, 1), kernel, (1,), ((1, 1),), (2,))
    assert torus_norm(operator).upper == pytest.approx(0.9, rel=1e-9)


@given(st.data())
@examples(40)
def test_the_torus_bound_is_the_circulant_norm(data: st.DataObject) -> None:
    """The proved value is the largest singular value over all frequencies of the embedded kernel."""
    c = data.draw(convolutions(data.draw(st.integers(1, 2))))
    torus = embed(c)
    kernel = torus.kernel.numpy()
    symbols = np.fft.fftn(kernel, s=_padded(torus.taps, torus.sides), axes=range(3, kernel.ndim))
    strides = [math.ceil(k / n) for k, n in zip(torus.taps, torus.sides, strict=True)]
    every = tuple(slice(None, None, s) for s in strides)
    matrices = np.moveaxis(symbols[(..., *every)], (1, 2), (-2, -1))
    want = float(np.linalg.svd(matrices, compute_uv=False).max())
    assert want * (1 - 1e-12) <= torus_norm(c).upper <= want * (1 + 1e-9)


def _padded(taps: tuple[int, ...], sides: tuple[int, ...]) -> list[int]:
    """Transform lengths: multiples of the torus side that hold all taps."""
    return [n * math.ceil(k / n) for k, n in zip(taps, sides, strict=True)]


def test_the_excess_over_the_zero_padded_norm_vanishes_with_the_image() -> None:
    kernel = randn(3, 2, 3)
    excess = []
    for n in (4, 16, 64, 256):
        c = convolution((n,), kernel, padding=((1, 1),))
        excess.append(torus_norm(c).upper / dense_norms(c.as_matrix())["2"] - 1)
    assert excess[-1] < 1e-3
    assert excess == sorted(excess, reverse=True)


def test_a_kernel_as_large_as_its_stride_is_exact_on_any_image() -> None:
    kernel = randn(5, 2, 4, 4)
    c = convolution((64, 64), kernel, stride=(4, 4))
    want = float(np.linalg.svd(kernel.flatten(1).numpy(), compute_uv=False)[0])
    bound = norm(c, "2")
    assert want * (1 - 1e-13) <= bound.upper <= want * (1 + 1e-9)
    assert bound.lower >= want * (1 - 1e-9)


def test_depthwise_averages_have_norm_one() -> None:
    c = convolution((40, 40), torch.full((8, 1, 3, 3), 1 / 9, dtype=torch.float64), groups=8)
    assert 1.0 - 1e-2 < norm(c, "2").lower <= norm(c, "2").upper <= 1.0 + 1e-12


@pytest.mark.parametrize("scale", [0.0, 1e-300, 1e-150, 1e150, 1e300])
def test_scales(scale: float) -> None:
    kernel = randn(3, 2, 3)
    c = convolution((9,), kernel * scale, padding=((1, 1),))
    want = dense_norms(convolution((9,), kernel, padding=((1, 1),)).as_matrix())["2"] * scale
    bound = norm(c, "2")
    assert want * (1 - 1e-13) <= bound.upper <= want * (1 + 1e-9)
    assert bound.lower <= want * (1 + 1e-13)


def test_the_number_of_chunks_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    c = convolution((17, 13), randn(4, 5, 3, 3), padding=((1, 1), (1, 1)))
    whole = torus_norm(c)
    monkeypatch.setattr(module, "_CHUNK_BYTES", 1)
    single = torus_norm(c)
    assert single.upper == pytest.approx(whole.upper, rel=1e-10)
    assert single.lower == pytest.approx(whole.lower, rel=1e-6)


def test_a_mode_at_a_single_frequency_is_found() -> None:
    """A narrow-band kernel: the peak lies at one frequency far from zero."""
    t = torch.arange(31, dtype=torch.float64)
    kernel = torch.cos(2 * math.pi * 0.3 * t).reshape(1, 1, -1)
    c = convolution((400,), kernel, padding=((15, 15),))
    want = dense_norms(c.as_matrix())["2"]
    bound = torus_norm(c)
    assert want * (1 - 1e-13) <= bound.upper <= want * 1.01
    assert want * 0.95 <= bound.lower <= want * (1 + 1e-13)


def test_wrong_shapes_are_refused() -> None:
    kernel = randn(2, 2, 3)
    for out_shape in ((1, 2, 5), (1, 3, 4)):
        with pytest.raises(ValueError, match="expected"):
            Convolution((1, 2, 6), out_shape, kernel, (1,), ((0, 0),), (1,))
    with pytest.raises(ValueError, match="padding"):
        Convolution((1, 2, 6), (1, 2, 3), kernel, (1,), ((0, -1),), (1,))
