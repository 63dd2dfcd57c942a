"""Networks that are 1-Lipschitz by construction, built from their papers' layers: the weights are made in the graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, normalize, relu
from torch.nn.utils import parametrizations

WIDTH = 6


class MaxMin(nn.Module):
    """The larger and the smaller one of two halves of the channels (Anil et al., ICML 2019)."""

    def forward(self, x: Tensor) -> Tensor:
        a, b = x.split(x.shape[1] // 2, 1)
        return torch.cat([torch.max(a, b), torch.min(a, b)], 1)


class GroupSort(nn.Module):
    """Entries sorted in groups (Anil et al., ICML 2019)."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        return torch.sort(x.reshape(x.shape[0], -1, self.size), -1)[0].reshape(x.shape)


class Bjorck(nn.Module):
    """A matrix made orthonormal by Bjorck and Bowie's iteration (Anil et al., ICML 2019)."""

    def __init__(self, n: int, m: int, steps: int = 20) -> None:
        super().__init__()
        self.weight, self.bias, self.steps = nn.Parameter(torch.randn(m, n)), nn.Parameter(torch.zeros(m)), steps

    def forward(self, x: Tensor) -> Tensor:
        w = self.weight / self.weight.abs().sum(1).max().sqrt() / self.weight.abs().sum(0).max().sqrt()
        for _ in range(self.steps):
            w = 1.5 * w - 0.5 * w @ w.t() @ w
        return x @ w.t() + self.bias


class Cayley(nn.Module):
    """(I + A)^-1 (I - A) for a skew-symmetric A (Trockman and Kolter, ICLR 2021)."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(n, n)), nn.Parameter(torch.randn(n))

    def forward(self, x: Tensor) -> Tensor:
        eye, a = torch.eye(self.weight.shape[0]), self.weight - self.weight.t()
        return x @ torch.linalg.solve(eye + a, eye - a).t() + self.bias


class Sandwich(nn.Module):
    """sqrt(2) A^T Psi relu(sqrt(2) Psi^-1 B x + b) with A A^T + B B^T = I (Wang and Manchester, ICML 2023)."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.z, self.psi = nn.Parameter(torch.randn(2 * n, n)), nn.Parameter(0.3 * torch.randn(n))
        self.bias = nn.Parameter(torch.randn(n))

    def forward(self, x: Tensor) -> Tensor:
        n = self.psi.shape[0]
        u, v, eye = self.z[:n], self.z[n:], torch.eye(n)
        m = eye + u - u.t() + v.t() @ v
        a = torch.linalg.solve(m, eye - u + u.t() - v.t() @ v).t()
        b = (-2 * v @ torch.linalg.inv(m)).t()
        inner = x @ (2**0.5 * torch.exp(-self.psi)[:, None] * b).t() + self.bias
        return (relu(inner) * (2**0.5 * torch.exp(self.psi))) @ a


class AlmostOrthogonal(nn.Module):
    """W diag(sum |W^T W|)^(-1/2) (AOL: Prach and Lampert, ECCV 2022)."""

    def __init__(self, n: int, m: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(m, n)), nn.Parameter(torch.randn(m))

    def forward(self, x: Tensor) -> Tensor:
        scale = (self.weight.t() @ self.weight).abs().sum(1).rsqrt()
        return (x * scale) @ self.weight.t() + self.bias


class AlmostOrthogonalConvolution(nn.Module):
    """The same for a convolution with zeros around: the kernel's correlation with itself, summed."""

    def __init__(self, channels: int, size: int = 3) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(channels, channels, size, size))

    def forward(self, x: Tensor) -> Tensor:
        w = self.weight
        gram = conv2d(w.transpose(0, 1), w.transpose(0, 1), padding=w.shape[2] - 1)
        scale = gram.abs().sum((1, 2, 3)).rsqrt()
        return conv2d(x, w * scale[None, :, None, None], padding=w.shape[2] // 2)


class SdpLipschitz(nn.Module):
    """x - 2 W T^-1 relu(W^T x + b), T_i = sum_j |W^T W|_ij q_j / q_i (SLL: Araujo et al., ICLR 2023)."""

    def __init__(self, n: int, m: int) -> None:
        super().__init__()
        self.weight, self.q = nn.Parameter(torch.randn(m, n)), nn.Parameter(torch.randn(m))
        self.bias = nn.Parameter(torch.randn(m))

    def forward(self, x: Tensor) -> Tensor:
        q = torch.exp(self.q)
        t = 2 / torch.abs(q[None] * (self.weight @ self.weight.t()) / q[:, None]).sum(1)
        return x - (t * relu(x @ self.weight.t() + self.bias)) @ self.weight


class ConvexPotential(nn.Module):
    """x - 2 W^T relu(W x + b) / ||W||^2, the norm by power iteration (Meunier et al., ICML 2022)."""

    def __init__(self, n: int, m: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(m, n)), nn.Parameter(torch.randn(m))
        self.register_buffer("u", torch.randn(n))
        self.settle()

    def settle(self) -> None:
        """Power iteration until it stands still."""
        with torch.no_grad():
            for _ in range(3000):
                self.u.copy_(normalize(self.weight.t() @ (self.weight @ self.u), dim=0))

    def forward(self, x: Tensor) -> Tensor:
        v = self.weight @ self.u
        v = v / torch.linalg.vector_norm(v)
        u = self.weight.t() @ v
        norm = torch.linalg.vector_norm(u)
        return x - 2 / norm**2 * (relu(x @ self.weight.t() + self.bias) @ self.weight)


class RowsOfOne(nn.Module):
    """Rows divided by the larger of 1 and their 1-norm: 1-Lipschitz in the infinity norm (Anil et al., ICML 2019)."""

    def __init__(self, n: int, m: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(m, n)), nn.Parameter(torch.randn(m))

    def forward(self, x: Tensor) -> Tensor:
        rows = self.weight.abs().sum(1, keepdim=True)
        return x @ (self.weight / torch.clamp(rows, min=1.0)).t() + self.bias


def orthogonal(way: str) -> nn.Module:
    layers: list[nn.Module] = []
    for _ in range(2):
        layers += [parametrizations.orthogonal(nn.Linear(WIDTH, WIDTH), orthogonal_map=way), MaxMin()]
    return nn.Sequential(*layers, parametrizations.orthogonal(nn.Linear(WIDTH, 2), orthogonal_map=way))


def spectral() -> nn.Module:
    layers = [parametrizations.spectral_norm(nn.Linear(WIDTH, WIDTH)) for _ in range(2)]
    return _settled(nn.Sequential(layers[0], nn.ReLU(), layers[1]))


def spectral_by_hooks() -> nn.Module:
    layers = [nn.utils.spectral_norm(nn.Linear(WIDTH, WIDTH)) for _ in range(2)]
    return _settled(nn.Sequential(layers[0], nn.ReLU(), layers[1]))


def _settled(network: nn.Module) -> nn.Module:
    network.train()
    for _ in range(800):
        network(torch.zeros(1, WIDTH))
    return network


def one_row() -> nn.Module:
    """Weight normalisation of a single row is its 2-norm (Salimans and Kingma, NeurIPS 2016), with a gain of 1."""
    last = parametrizations.weight_norm(nn.Linear(WIDTH, 1))
    nn.init.ones_(last.parametrizations.weight.original0)
    return nn.Sequential(parametrizations.orthogonal(nn.Linear(WIDTH, WIDTH)), nn.Tanh(), last)


NETWORKS: Mapping[str, tuple[Callable[[], nn.Module], tuple[int, ...], str]] = {
    "orthogonal by the matrix exponential, MaxMin": (lambda: orthogonal("matrix_exp"), (WIDTH,), "2"),
    "orthogonal by Cayley's map, MaxMin": (lambda: orthogonal("cayley"), (WIDTH,), "2"),
    "orthogonal by Householder reflections, MaxMin": (lambda: orthogonal("householder"), (WIDTH,), "2"),
    "Bjorck, GroupSort": (lambda: nn.Sequential(Bjorck(WIDTH, WIDTH), GroupSort(3), Bjorck(WIDTH, 3)), (WIDTH,), "2"),
    "Cayley, ReLU": (lambda: nn.Sequential(Cayley(WIDTH), nn.ReLU(), Cayley(WIDTH)), (WIDTH,), "2"),
    "sandwich": (lambda: nn.Sequential(Sandwich(WIDTH), Sandwich(WIDTH)), (WIDTH,), "2"),
    "AOL": (lambda: nn.Sequential(AlmostOrthogonal(WIDTH, 8), MaxMin(), AlmostOrthogonal(8, 3)), (WIDTH,), "2"),
    "AOL, convolutions": (
        lambda: nn.Sequential(AlmostOrthogonalConvolution(4), MaxMin(), AlmostOrthogonalConvolution(4)), (4, 5, 5), "2",
    ),
    "SLL": (lambda: nn.Sequential(SdpLipschitz(WIDTH, 8), SdpLipschitz(WIDTH, 7)), (WIDTH,), "2"),
    "convex potential": (lambda: nn.Sequential(ConvexPotential(WIDTH, 8), ConvexPotential(WIDTH, 7)), (WIDTH,), "2"),
    "spectral norm": (spectral, (WIDTH,), "2"),
    "spectral norm by hooks": (spectral_by_hooks, (WIDTH,), "2"),
    "weight norm of one row": (one_row, (WIDTH,), "2"),
    "rows of one, GroupSort": (
        lambda: nn.Sequential(RowsOfOne(WIDTH, 6), GroupSort(2), RowsOfOne(6, 3)), (WIDTH,), "inf",
    ),
}  # fmt: skip


def built(name: str) -> nn.Module:
    """The network in evaluation mode, after a few steps of training."""
    torch.manual_seed(5)
    make, shape, _ = NETWORKS[name]
    network = make()
    descent = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=0.02)
    network.train()
    for _ in range(3):
        descent.zero_grad()
        network(torch.randn(8, *shape)).square().mean().backward()
        descent.step()
    for layer in network.modules():
        if isinstance(layer, ConvexPotential):
            layer.settle()
    return (_settled(network) if "spectral" in name else network).eval()
