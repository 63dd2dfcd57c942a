"""What the proofs count on, of either device: float64 as IEEE 754 has it, sums in whatever order (docs/gpu.md).

Every check runs on the CPU too, so that it stays true to the code while there is no GPU.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from fractions import Fraction

import pytest
import torch

from app.lipschitz.analysis import analyze
from app.lipschitz.certificate.verify import verify
from app.lipschitz.device import inexact_modes, make_exact
from app.lipschitz.ingest import capture_artifact
from app.lipschitz.operators.rounding import gamma
from benchmarks.gpu.analyses import CERTIFIED, SOLVED, as_json
from tests.lipschitz.network.test_library import SEEN, UNARY, measure

ON_CUDA = (pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"))
CUDA = pytest.param("cuda", marks=ON_CUDA)
DEVICES = pytest.mark.parametrize("device", ["cpu", CUDA])


@DEVICES
@pytest.mark.parametrize("inner", [1, 100, 4096])
def test_products_round_nothing_that_fits(device: str, inner: int) -> None:
    """Integers below 2^20 have sums below 2^53: exact in float64 in any order, and in nothing that is less."""
    a, b = _integers(3, 70, inner), _integers(3, inner, 50)
    exact = (a @ b).double()
    mine, other = a.double().to(device), b.double().to(device)
    assert torch.equal((mine @ other).cpu(), exact)
    assert torch.equal((mine[0] @ other[0]).cpu(), exact[0])
    assert torch.equal((mine[0] @ other[0, :, 0]).cpu(), exact[0, :, 0])


@DEVICES
@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (5, 2), (1, 1)])
def test_convolutions_are_sums_of_products(device: str, kernel: int, stride: int) -> None:
    """Winograd's and Fourier's ways would round: no bound of ours speaks of them."""
    x, weight = _integers(2, 16, 17, 17), _integers(8, 16, kernel, kernel)
    columns = torch.nn.functional.unfold(x.double(), kernel, stride=stride).long()
    exact = (weight.reshape(8, -1) @ columns).double()
    mine = torch.nn.functional.conv2d(x.double().to(device), weight.double().to(device), stride=stride)
    assert torch.equal(mine.reshape(2, 8, -1).cpu(), exact)


@DEVICES
@pytest.mark.parametrize(("batch", "n"), [(1, 5), (40, 33), (3, 200), (1, 700)])
def test_cholesky_rounds_as_substitution_does(device: str, batch: int, n: int) -> None:
    """|M - L L^T| <= gamma_{n+1} |L| |L|^T (Higham, theorem 10.3): what Rump's proof starts from."""
    generator = torch.Generator().manual_seed(n)
    a = torch.randn(batch, n, n, dtype=torch.float64, generator=generator)
    half = (a @ a.mT / n).tril(-1)  # a product and its transpose may be rounded apart
    matrix = half + half.mT + torch.diag_embed(a.square().sum(2) / n + 1e-9)
    factor, info = torch.linalg.cholesky_ex(matrix.to(device))
    assert not bool(info.any())
    lower = factor.cpu().tril()
    residual, sizes = (lower @ lower.mT - matrix).abs(), lower.abs() @ lower.abs().mT
    assert bool((residual <= 2.0 * gamma(n + 1) * sizes).all()), "twice: the residual is rounded, too"


@DEVICES
def test_a_matrix_that_is_not_definite_has_no_factor(device: str) -> None:
    matrix = torch.eye(300, dtype=torch.float64)
    matrix[299, 299] = -1e-12
    broken = torch.full((2, 2), torch.nan, dtype=torch.float64)
    for m in (matrix, broken):
        factor, info = torch.linalg.cholesky_ex(m.to(device))
        assert int(info) > 0 or not bool(torch.isfinite(factor.diagonal()).all())


@DEVICES
def test_single_operations_are_rounded_correctly(device: str) -> None:
    x = torch.rand(2000, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 3.0
    assert (1.0 / x.to(device)).tolist() == [1.0 / v for v in x.tolist()]
    mantissas, exponents = torch.frexp(x.to(device))
    assert list(zip(mantissas.tolist(), exponents.tolist(), strict=True)) == [math.frexp(v) for v in x.tolist()]
    assert torch.equal(torch.ldexp(mantissas, exponents).cpu(), x)


@DEVICES
def test_roots_lie_between_the_doubles_beside_them(device: str) -> None:
    """Not rounded correctly: MKL, to which a CPU sends vectors, errs by 0.53 units. One double further covers it."""
    x = torch.rand(4000, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 3.0
    for v, root in zip(x.tolist(), x.to(device).sqrt().tolist(), strict=True):
        below, above = (Fraction(math.nextafter(root, end)) for end in (0.0, math.inf))
        assert below**2 <= Fraction(v) <= above**2


@DEVICES
def test_subnormal_numbers_are_kept(device: str) -> None:
    tiny = torch.tensor([2.0**-1074, 2.0**-1030], dtype=torch.float64, device=device)
    assert (tiny * 0.75).tolist() == [2.0**-1074, 0.75 * 2.0**-1030]
    assert torch.nextafter(torch.zeros_like(tiny), torch.ones_like(tiny)).tolist() == [2.0**-1074] * 2
    assert float((tiny[1:] * 2.0**-20) @ torch.full_like(tiny[1:], 1.0)) == 2.0**-1050


@pytest.mark.parametrize("device", [pytest.param("cpu", marks=pytest.mark.slow), CUDA])
@pytest.mark.parametrize("name", [*UNARY, "power", "hypot"])
def test_library_functions_err_by_a_few_units(device: str, name: str) -> None:
    """The enclosures allow 64 units; CUDA's manual promises 5."""
    with torch.device(device):
        assert measure(name, 500, 3) <= 2.0 * SEEN


@pytest.mark.parametrize("device", [pytest.param("cpu", marks=pytest.mark.slow), CUDA])
@pytest.mark.parametrize("name", CERTIFIED)
def test_certificates_of_a_device_are_valid_on_the_cpu(device: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make, fields = CERTIFIED[name]
    artifact, request = capture_artifact(make(), None), {"methods": [name.split()[0]], "budget_s": 30.0} | fields
    digest = hashlib.sha256(artifact).hexdigest()
    answer = analyze(artifact, request, model_sha256=digest)
    assert str(answer.result.engine.device).startswith(device)
    verdict = verify(artifact, as_json(answer).encode(), digest)
    assert verdict["valid"], verdict["reasons"]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    alone = analyze(artifact, request, model_sha256=digest).result
    assert answer.result.upper is not None
    assert alone.upper is not None
    assert answer.result.upper.value == pytest.approx(alone.upper.value, rel=SOLVED)


MODES: dict[str, tuple[Callable[[], object], str]] = {
    "products": (lambda: setattr(torch.backends.cuda.matmul, "allow_tf32", True), "TF32 in matrix products"),
    "convolutions": (lambda: setattr(torch.backends.cudnn, "allow_tf32", True), "TF32 in convolutions"),
    "flushing": (lambda: torch.set_flush_denormal(True), "subnormal numbers"),
}


@pytest.mark.parametrize("name", MODES)
def test_inexact_modes_are_seen_and_turned_off(name: str) -> None:
    turn_on, told = MODES[name]
    before = torch.backends.cudnn.allow_tf32
    try:
        turn_on()
        assert told in ", ".join(inexact_modes())
        make_exact()
        assert inexact_modes() == []
    finally:
        torch.set_flush_denormal(False)
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = before


def _integers(*shape: int) -> torch.Tensor:
    return torch.randint(-(2**20) + 1, 2**20, shape, generator=torch.Generator().manual_seed(sum(shape)))
