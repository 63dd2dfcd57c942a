"""Operators that are taken apart while a program is traced, and groups of entries: bounds and values on a box."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from app.lipschitz import files
from app.lipschitz.artifact.captured import Origin
from app.lipschitz.network.call import Call
from app.lipschitz.network.folding import fold
from app.lipschitz.network.nodes import Constants
from app.lipschitz.network.rules.angles import Angle
from app.lipschitz.network.rules.normalization import Normalizer
from app.lipschitz.network.rules.product import Factors
from app.lipschitz.network.rules.scaling import RootMeanSquare, UnitVector
from app.lipschitz.network.values import Constant
from tests.lipschitz.helpers import ORDER
from tests.lipschitz.ingest.exporters import EXPORTERS

N = 5
INDEX = torch.arange(2 * N).reshape(2, N)
ONES = torch.ones(2 * N, dtype=torch.float64)

GROUPS = {
    "layer norm": Normalizer(INDEX, 0.1, ONES, 0.0 * ONES),
    "RMS norm": RootMeanSquare(INDEX, 0.1),
    "unit vector": UnitVector(INDEX, 0.5),
    "unit vector without a floor": UnitVector(INDEX, 0.0),
    "product": Factors(INDEX),
}


def rand(seed: int, *shape: int) -> Tensor:
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def steepest(function: Callable[[Tensor], Tensor], points: Tensor) -> dict[str, float]:
    jacobians = torch.stack([torch.autograd.functional.jacobian(lambda x: function(x[None])[0], x) for x in points])
    return {p: float(torch.linalg.matrix_norm(jacobians, ORDER[p]).max()) for p in ("1", "2", "inf")}


def holds(bound: Constants, attained: dict[str, float]) -> None:
    assert all(attained[p] <= bound[p] * (1.0 + 1e-12) for p in ("1", "2", "inf"))


@pytest.mark.parametrize("name", GROUPS)
@pytest.mark.parametrize(("low", "high"), [(-1.0, 1.0), (0.2, 0.9), (-1e-3, 1e-3), (-8.0, 8.0)])
def test_constants_and_ranges_of_groups(name: str, low: float, high: float) -> None:
    layer = GROUPS[name]
    lower = low + 0.1 * (high - low) * rand(1, 2 * N)
    upper = lower + 0.5 * (high - low)
    points = lower + (upper - lower) * rand(2, 100, 2 * N)
    points = torch.cat([points, torch.where(rand(3, 100, 2 * N) < 0.5, lower, upper)])
    local, attained = layer.local(lower, upper), steepest(layer, points)
    holds(local, attained)
    holds(layer.constants(), attained)
    least, most = layer.range(layer, lower, upper)
    values = layer(points)
    assert bool(((least <= values) & (values <= most)).all())


@pytest.mark.parametrize("n", [2, 3, 16])
@pytest.mark.parametrize("make", [lambda i, o: Normalizer(i, 0.1, o, 0.0 * o), lambda i, _: RootMeanSquare(i, 0.1)])
def test_rows_are_nearly_attained(n: int, make: Callable[[Tensor, Tensor], Normalizer]) -> None:
    """One entry large and the others alike is nearly the worst row, in the norms 1 and inf."""
    index, ones = torch.arange(n)[None], torch.ones(n, dtype=torch.float64)
    layer = make(index, ones)
    points = []
    for size in torch.logspace(-2, 1.5, 60, dtype=torch.float64):
        for ratio in (0.0, 0.3, 0.6, 1.0, 2.0):
            x = size * ratio * torch.where(torch.arange(n) % 2 == 0, 1.0, -1.0 if ratio else 1.0).double()
            x[0] = size * math.sqrt(n)
            points.append(x)
    attained = steepest(layer, torch.stack(points))
    bound = layer.constants()
    holds(bound, attained)
    assert bound["inf"] <= 1.25 * attained["inf"]


def test_a_product_of_extreme_factors_does_not_vanish() -> None:
    """1e-200 1e-200 1e300 1e300 is 1e200, whatever the order."""
    sizes = torch.tensor([2.0, 1e-200, 1e-200, 1e300, 1e300], dtype=torch.float64)
    assert Factors(torch.arange(5)[None]).local(-sizes, sizes)["1"] >= 1e200


def test_a_number_that_is_filled_in_keeps_its_radius() -> None:
    value = Constant(torch.tensor(1.0).double(), torch.tensor(0.5).double())
    given = Constant(torch.zeros(2).double()), Constant(torch.tensor([True, False])), value
    found = fold(Call.bind(torch.ops.aten.masked_fill.Tensor, given, {}, Origin("", "")))
    assert found.value.tolist() == [1.0, 0.0]
    assert found.radius.tolist() == [0.5, 0.0]


@pytest.mark.parametrize("low", [(0.3, 0.2), (1.0, -2.0), (-2.0, -1.0), (-0.5, 0.1), (-1.0, 1e-3)])
@pytest.mark.parametrize("scale", [1.0, 1e-150, 1e160])
def test_angles_off_the_cut(low: tuple[float, float], scale: float) -> None:
    layer = Angle(1)
    lower = torch.tensor(low, dtype=torch.float64) * scale
    upper = lower + torch.tensor([0.4, 0.9], dtype=torch.float64) * scale
    points = lower + (upper - lower) * torch.cat([rand(2, 200, 2), torch.tensor([[0.0, 0], [0, 1], [1, 0], [1, 1]])])
    local, (least, most) = layer.local(lower, upper), layer.range(layer, lower, upper)
    y, x = points.T
    nearest = float(torch.hypot(y, x).min())
    assert local["2"] * nearest >= 1.0
    rows = ((y.abs() / nearest + x.abs() / nearest) / torch.hypot(y / nearest, x / nearest) ** 2).max() / nearest
    assert local["inf"] >= float(rows)
    assert bool(((least <= layer(points).flatten()) & (layer(points).flatten() <= most)).all())


@pytest.mark.parametrize(
    ("low", "high"), [((-1.0, -1.0), (1.0, 1.0)), ((0.0, -2.0), (1.0, -1.0)), ((0.0, 0.0), (1.0, 1.0))]
)
def test_angles_jump_across_the_cut(low: tuple[float, float], high: tuple[float, float]) -> None:
    layer = Angle(1)
    ends = torch.tensor(low, dtype=torch.float64), torch.tensor(high, dtype=torch.float64)
    assert layer.local(*ends)["2"] == math.inf
    assert float(layer.range(layer, *ends)[1]) >= math.pi


class Of(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


PROTOTYPES = torch.linspace(-1.0, 2.0, 12).reshape(3, 4)

FORMS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "norm with dims": lambda x: x.norm(2, 1, True),
    "deviation": lambda x: x.std(1),
    "variance": lambda x: x.var(1),
    "distances": lambda x: torch.cdist(x, PROTOTYPES),
    "numbers": lambda x: torch.nan_to_num(x),
    "median": lambda x: x.median(1)[0],
    "log add exp": lambda x: torch.logaddexp(x, 2 * x.flip(1)),
    "hypotenuse": lambda x: torch.hypot(x, x.flip(1)),
    "logit": lambda x: torch.logit(x, 1e-2),
    "interpolation": lambda x: torch.lerp(x, x.flip(1), 0.3),
    "addcmul": lambda x: torch.addcmul(x, x, x.flip(1), value=0.5),
    "inner product": lambda x: torch.dot(x[0], x[0].flip(0)),
    "erfc": torch.erfc, "sinh": torch.sinh, "cosh": torch.cosh,
    "arc sine": lambda x: torch.asin(0.5 * x),
    "running maximum": lambda x: x.cummax(1)[0],
    "running log sum": lambda x: x.logcumsumexp(1),
    "cosine similarity": lambda x: F.cosine_similarity(x[:, None], PROTOTYPES[None], -1),
    "normalize": F.normalize,
    "product": lambda x: x.prod(1),
    "running product": lambda x: x.cumprod(1),
    "angle": lambda x: torch.atan2(x, x.flip(1) + 0.5),
    "angle beside a number": lambda x: torch.atan2(x, torch.tensor(-2.0)),
    "sine": lambda x: torch.sin(2.0 * x),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMS)
def test_forms_are_bounded_on_a_box(name: str) -> None:
    """Above what Jacobians in the box attain, and not by much."""
    function = FORMS[name]
    data = EXPORTERS["jit.trace"](Of(function), torch.full((1, 4), 0.7) + 0.1 * torch.arange(4.0))
    box = {"kind": "box", "lower": 0.5, "upper": 1.5}
    fields = {"domain": box, "methods": ["autolip"], "inputs": [[1, 4]]}
    found = files.analyze(data, fields)["result"]["upper"]["value"]
    points = (0.5 + rand(7, 25, 4)).float()
    jacobians = torch.stack([torch.autograd.functional.jacobian(function, x[None]).reshape(-1, 4) for x in points])
    attained = float(torch.linalg.matrix_norm(jacobians, 2).max())
    assert attained <= found * (1.0 + 1e-5)
    assert found <= 8.0 * attained
