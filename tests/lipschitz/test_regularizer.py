"""The differentiable AutoLip against the certified one, on every kind of graph that training loops meet."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from app.lipschitz.errors import LipschitzError
from app.lipschitz.regularizer import AutoLipRegularizer
from tests.lipschitz.helpers import autolip_of, network_of


class Residual(nn.Module):
    """Two residual branches, one of them behind a shared convolution, and batch norm between."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.norm = nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.b, self.out = nn.Conv2d(6, 3, 3, padding=1), nn.Linear(3 * 64, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(x + self.b(torch.relu(self.norm(self.a(x)))))
        x = x - torch.tanh(self.b(nn.functional.gelu(self.a(x))))
        return self.out(x.flatten(1))


class Dense(nn.Module):
    """A concatenation of a value and a function of it."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(4, 6), nn.Linear(6, 3), nn.Linear(9, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.a(x))
        return self.c(torch.cat([x, torch.sigmoid(self.b(x))], 1))


class LinearSkip(nn.Module):
    """x + B A x is one linear map: a sum of norms would be too large."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(5, 4), nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.b(self.a(x)))


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(10, 20), nn.ReLU(), nn.Linear(20, 20), nn.SiLU(), nn.Linear(20, 3))


def convolutions() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 5, stride=2, dilation=2), nn.BatchNorm2d(4), nn.LeakyReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(4, 6, 3, groups=2), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Dropout(), nn.Linear(6, 3),
    )  # fmt: skip


def one_dimension() -> nn.Module:
    first = nn.Conv1d(2, 3, 3, padding=2, dilation=2)
    return nn.Sequential(first, nn.ELU(), nn.Conv1d(3, 2, 4, stride=3), nn.Flatten())


def three_dimensions() -> nn.Module:
    return nn.Sequential(nn.Conv3d(1, 2, 2), nn.Softplus(), nn.AdaptiveAvgPool3d(2), nn.Flatten(), nn.Linear(16, 2))


NETWORKS: list[tuple[Callable[[], nn.Module], tuple[int, ...]]] = [
    (mlp, (1, 10)),
    (convolutions, (1, 1, 28, 28)),
    (one_dimension, (1, 2, 20)),
    (three_dimensions, (1, 1, 4, 4, 4)),
    (Residual, (1, 3, 8, 8)),
    (Dense, (1, 4)),
    (LinearSkip, (1, 5)),
]


def random_module(make: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    """The module in training mode, float64, with statistics of its own."""
    torch.manual_seed(seed)
    module = make().double()
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.normal_(part.running_mean)
            nn.init.uniform_(part.running_var, 0.5, 2.0)
            nn.init.normal_(part.weight)
    return module.train()


def certified(module: nn.Module, shape: tuple[int, ...]) -> float:
    modes = [part.training for part in module.modules()]
    value = autolip_of(network_of(module, shape), "2")
    for part, training in zip(module.modules(), modes, strict=True):
        part.training = training
    return value


@pytest.mark.parametrize(("make", "shape"), NETWORKS)
def test_the_value_is_the_certified_one(make, shape):
    module = random_module(make)
    penalty = AutoLipRegularizer(module, shape, warm_up=200)
    assert penalty().item() == pytest.approx(certified(module, shape), rel=1e-3)
    assert module.training


@pytest.mark.parametrize(
    ("make", "shape"), [NETWORKS[0], *(pytest.param(*NETWORKS[i], marks=pytest.mark.slow) for i in (4, 5))]
)
def test_the_gradient_is_that_of_the_certified_value(make, shape):
    module = random_module(make)
    AutoLipRegularizer(module, shape, warm_up=1000)().backward()
    weights = [part.weight for part in module.modules() if hasattr(part, "weight")]
    directions = [torch.randn_like(weight) for weight in weights]
    along = sum((weight.grad * way).sum().item() for weight, way in zip(weights, directions, strict=True))
    ends = []
    for step in (1e-4, -2e-4):
        with torch.no_grad():
            for weight, way in zip(weights, directions, strict=True):
                weight += step * way
        ends.append(certified(module, shape))
    assert (ends[0] - ends[1]) / 2e-4 == pytest.approx(along, rel=1e-2)


def test_one_step_a_call_follows_the_weights():
    module = random_module(mlp)
    penalty = AutoLipRegularizer(module, (1, 10))
    optimizer = torch.optim.SGD(module.parameters(), lr=0.01)
    before = certified(module, (1, 10))
    for _ in range(100):
        optimizer.zero_grad()
        value = penalty()
        value.log().backward()
        optimizer.step()
    after = certified(module, (1, 10))
    assert after < 0.2 * before
    assert 0.75 * after < penalty().item() < (1 + 1e-9) * after
    penalty.iterate(300)
    assert penalty().item() == pytest.approx(after, rel=1e-3)


def test_a_training_step_with_batch_norm_may_come_first_or_last():
    module = random_module(convolutions)
    penalty = AutoLipRegularizer(module, (1, 1, 28, 28))
    x = torch.randn(8, 1, 28, 28, dtype=torch.float64)
    (penalty() + module(x).square().mean()).backward()
    (module(x).square().mean() + penalty()).backward()
    assert all(bool(torch.isfinite(parameter.grad).all()) for parameter in module.parameters())


def test_float32_modules_are_taken_as_they_are():
    module = random_module(convolutions).float()
    value = AutoLipRegularizer(module, (1, 1, 28, 28), warm_up=300)()
    assert value.dtype == torch.float64
    assert value.item() == pytest.approx(certified(module, (1, 1, 28, 28)), rel=1e-2)


def test_zero_weights_give_zero():
    module = nn.Sequential(nn.Linear(3, 3), nn.ReLU())
    nn.init.zeros_(module[0].weight)
    value = AutoLipRegularizer(module, (1, 3))()
    value.backward()
    assert value.item() == 0.0
    assert bool(torch.isfinite(module[0].weight.grad).all())


class Gated(nn.Module):
    """A product of two values."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(x)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (nn.Hardshrink(), "hardshrink"),
        (nn.GLU(), "glu"),
        (nn.LayerNorm(4), "layer_norm.*trained"),
        (nn.PReLU(), "prelu.*trained"),
        (Gated(), "mul"),
    ],
)
def test_what_has_no_known_constant_is_refused_by_name(part, message):
    with pytest.raises(LipschitzError, match=message):
        AutoLipRegularizer(nn.Sequential(nn.Linear(4, 4), part), (1, 4))


def test_a_function_with_a_constant_of_its_own_is_taken():
    module = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4, elementwise_affine=False))
    value = AutoLipRegularizer(module, (1, 4), warm_up=300)()
    assert value.item() == pytest.approx(certified(module, (1, 4)), rel=1e-3)


class Branching(nn.Module):
    """Its course depends on its input."""

    def forward(self, x: Tensor) -> Tensor:
        return x if bool(x.sum() > 0) else -x


class Constant(nn.Module):
    """Its output does not depend on its input."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.ones_like(x)


@pytest.mark.parametrize("part", [Branching(), Constant()])
def test_what_is_no_fixed_function_of_the_input_is_refused(part):
    with pytest.raises(LipschitzError):
        AutoLipRegularizer(nn.Sequential(nn.Linear(4, 4), part), (1, 4))
