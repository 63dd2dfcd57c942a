"""LipSDP's optimum by trajectories: a low-rank factor of the dual's matrix, improved by passes through the network.

The dual of LipSDP is: maximise <C^T C, Z> over Z >= 0 with <E_x, Z> <= 1 and <u_i w_i^T + w_i u_i^T, Z> <= 0. With
Z = V^T V and r rows (S. Burer, R. Monteiro, Mathematical Programming 95 (2003)) these are r trajectories of
differences. Neuron i reads v_i in R^r and may answer any z_i in the ball about m_i v_i of radius h_i |v_i|, where
m = (a + b) / 2 and h = (b - a) / 2. Forwards z_i = m_i v_i + h_i |v_i| d_i with unit directions d_i kept from the last
round; backwards, G being the adjoint of |y|^2 / 2, the adjoint of v_i is m_i G_i + h_i |G_i| v_i / |v_i|, and
d_i = G_i / |G_i|. Each round is exact ascent in the input and in all directions, one after the other. Both are drawn
out beyond that by Nesterov's momentum, begun anew where the value falls: 50 rounds do what 1,000 did without.

At a maximum t_i = |G_i| / ((b_i - a_i) |v_i|) are the multipliers, and rho is the square of the value. Nothing here is
proved: the value is an estimate of the optimum, from below.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ...network.nodes import Activation
from ...operators.norm import Norm
from .passes import Answer

FEWEST, MOST = 12, 32
"""Trajectories r of a program, and as many more as it has outputs: each of them may have a direction of its own."""
MOST_ROUNDS, WINDOW = 5000, 10
LEAST_READ = 1e-6
"""Of a neuron, over the root of the squares that it adds up: at a maximum of pooling's rectifiers many read nothing,
and any multiplier but a huge one will do. A small neuron among large ones reads little and needs all of its own."""
DEAD = 1e-12
"""The same over the most that one of its activation reads: weight decay leaves rows of 1e-38."""
TINY = 1e-200
Pass = Callable[[Tensor, Answer], Tensor]
Slopes = Mapping[Activation, tuple[Tensor, Tensor]]


@dataclass(frozen=True, eq=False)
class Programs:
    """P programs of one network: `forward` from `inputs` to `outputs` coordinates, `backward` its adjoint.

    `norm` is the input's: "2" or "inf". The p-th program asks for the output `rows[p]` alone, or, with `rows` None,
    the only one for the 2-norm of all outputs.
    """

    forward: Pass
    backward: Pass
    inputs: int
    outputs: int
    slopes: Slopes
    norm: Norm = "2"
    rows: Sequence[int] | None = None

    @property
    def count(self) -> int:
        """Number of programs, P."""
        return 1 if self.rows is None else len(self.rows)


@dataclass(frozen=True, eq=False)
class Maximum:
    """`value` `(P,)`, `weights` `(P, n)` of the input's coordinates, `x` `(P, n)` their lengths.

    By activation what each neuron reads, answers and gives back, `(P, n)`.
    The weights add up to value^2; in the 2-norm they all are value^2.
    """

    value: Tensor
    weights: Tensor
    x: Tensor
    read: Mapping[Activation, Tensor]
    answered: Mapping[Activation, Tensor]
    adjoint: Mapping[Activation, Tensor]


@dataclass(eq=False)
class Ascent:
    """The trajectories as they are, `x` `(P, r, n)`, with unit `directions` alike; a round improves them.

    `read`, `answered` and `adjoint` hold |v_i|, |z_i| and |G_i|, `(P, n)` an activation, of the last round, `value`
    `(P,)` its values; `passes` counts the rounds.
    """

    programs: Programs
    x: Tensor
    directions: dict[Activation, Tensor]
    value: Tensor
    rounds: Tensor
    passes: int = 0
    read: dict[Activation, Tensor] = field(default_factory=dict)
    adjoint: dict[Activation, Tensor] = field(default_factory=dict)
    answered: dict[Activation, Tensor] = field(default_factory=dict)
    _before: dict[object, Tensor] = field(default_factory=dict)

    @classmethod
    def begin(cls, programs: Programs, seed: int) -> Ascent:
        """Random directions and inputs."""
        device = next(iter(programs.slopes.values()))[0].device
        generator = torch.Generator("cpu").manual_seed(seed)
        rank = min(MOST, FEWEST + (programs.outputs if programs.rows is None else 0))

        def draw(size: int) -> Tensor:
            shape = (programs.count, rank, size)
            noise = torch.randn(shape, generator=generator, dtype=torch.float64, device="cpu")
            return _unit(noise).to(device)

        directions = {node: draw(node.size) for node in programs.slopes}
        x, none = _of_norm(draw(programs.inputs), programs.norm), torch.zeros(programs.count, device=device)
        return cls(programs, x, directions, none.double(), none)

    def round(self) -> None:
        """One pass forwards and one back."""
        y = _shaped(self.programs, self.programs.forward(self.x.flatten(0, 1), self._forwards))
        value, pulled = self._pulled(y)
        self.rounds = torch.where(value < self.value, 0.0, self.rounds + 1.0)
        self.value, self.passes = value, self.passes + 1
        gradient = _shaped(self.programs, self.programs.backward(pulled.flatten(0, 1), self._backwards))
        self.weights = torch.linalg.vector_norm(gradient, dim=1)
        self.x = _of_norm(self._drawn_out(self.programs, _of_norm(gradient, self.programs.norm)), self.programs.norm)

    def _drawn_out(self, key: object, now: Tensor) -> Tensor:
        """Beyond the present one, away from the last."""
        momentum = (self.rounds / (self.rounds + 3.0))[:, None, None]
        last = self._before.get(key, now)
        self._before[key] = now
        return now + momentum * (now - last)

    def maximum(self) -> Maximum:
        """What the last round says of multipliers, which counts at a maximum."""
        square = self.value.square()[:, None]
        weights = square.expand_as(self.weights) if self.programs.norm == "2" else self.weights
        x = torch.linalg.vector_norm(self.x, dim=1)
        return Maximum(self.value, weights, x, self.read, self.answered, self.adjoint)

    def _pulled(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """The values, and the output's adjoint."""
        if self.programs.rows is None:
            return torch.linalg.matrix_norm(y), y
        own = torch.tensor(list(self.programs.rows), device=y.device)[:, None, None].expand(-1, y.shape[1], 1)
        kept = torch.zeros_like(y).scatter_(2, own, y.gather(2, own))
        return torch.linalg.matrix_norm(kept), kept

    def _forwards(self, node: Activation, flat: Tensor) -> Tensor:
        v, self.read[node] = self._read(flat)
        answer = self._answer(node, v, self.read[node])
        self.answered[node] = torch.linalg.vector_norm(answer, dim=1)
        self.directions[node] = v / self.read[node][:, None].clamp(min=TINY)
        return answer.flatten(0, 1)

    def _backwards(self, node: Activation, flat: Tensor) -> Tensor:
        g, self.adjoint[node] = self._read(flat)
        answer = self._answer(node, g, self.adjoint[node])
        self.directions[node] = _unit(self._drawn_out(node, g / self.adjoint[node][:, None].clamp(min=TINY)))
        return answer.flatten(0, 1)

    def _read(self, flat: Tensor) -> tuple[Tensor, Tensor]:
        shaped = _shaped(self.programs, flat)
        return shaped, torch.linalg.vector_norm(shaped, dim=1)

    def _answer(self, node: Activation, v: Tensor, size: Tensor) -> Tensor:
        lower, upper = self.programs.slopes[node]
        return (lower + upper) / 2.0 * v + ((upper - lower) / 2.0 * size)[:, None] * self.directions[node]


def _shaped(programs: Programs, flat: Tensor) -> Tensor:
    """`(P r, n)` -> `(P, r, n)`."""
    return flat.reshape(programs.count, -1, flat.shape[1])


def _unit(x: Tensor) -> Tensor:
    """Unit vectors along the trajectories, for every coordinate."""
    size: Tensor = torch.linalg.vector_norm(x, dim=1, keepdim=True)
    return x / size.clamp(min=TINY)


def _of_norm(x: Tensor, norm: Norm) -> Tensor:
    """The longest inputs along these: the 2-norm of all is one, or every coordinate's is."""
    if norm == "inf":
        return _unit(x)
    size: Tensor = torch.linalg.matrix_norm(x, keepdim=True)
    return x / size.clamp(min=TINY)


def ascend(ascent: Ascent, gap: float) -> Iterator[int]:
    """Rounds, counted, until some of them bring less than `gap` of the value."""
    before = ascent.value
    for i in range(1, MOST_ROUNDS + 1):
        ascent.round()
        yield i
        if i % WINDOW == 0:
            if not bool((ascent.value > before * (1.0 + gap)).any()):
                return
            before = ascent.value
