"""Scripts that hide state or what they read: none is captured. Scripts that use the same words honestly are."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from app.lipschitz.errors import StatefulModel, UnsupportedOperator
from app.lipschitz.ingest import capture
from tests.lipschitz.ingest.test_torch_formats import outputs, script


class NumberList(nn.Module):
    """A list of numbers that grows."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[int] = [0]

    def forward(self, x: Tensor) -> Tensor:
        self.calls[0] += 1
        return x if self.calls[0] < 100 else 1000.0 * x


class Growing(nn.Module):
    """Appends behind an alias out of a branch."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[int] = [0]

    def forward(self, x: Tensor) -> Tensor:
        kept = self.calls if x.dim() > 0 else [1]
        kept.append(1)
        return x if len(self.calls) < 100 else 1000.0 * x


class Looped(nn.Module):
    """Appends to a loop's variable."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[int] = [0]

    def forward(self, x: Tensor) -> Tensor:
        kept = [1]
        for _ in range(2):
            kept.append(1)
            kept = self.calls
        return x if len(self.calls) < 100 else 1000.0 * x


class Counted(nn.Module):
    """A dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: dict[str, int] = {"n": 0}

    def forward(self, x: Tensor) -> Tensor:
        self.calls["n"] = self.calls["n"] + 1
        return x if self.calls["n"] < 100 else 1000.0 * x


class TensorList(nn.Module):
    """A list of tensors that is overwritten."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[Tensor] = [torch.zeros(1)]

    def forward(self, x: Tensor) -> Tensor:
        y = x + self.kept[0]
        self.kept[0] = x.sum(1)
        return y


class OverwrittenEntry(TensorList):
    """The tensor in the list is overwritten in place, through a view."""

    def forward(self, x: Tensor) -> Tensor:
        y = x + self.kept[0]
        self.kept[0].view(-1)[0:1].add_(1.0)
        return y


class OverwrittenView(nn.Module):
    """A plain attribute, through two views."""

    def __init__(self) -> None:
        super().__init__()
        self.kept = torch.zeros(2, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = x + self.kept[0]
        self.kept.t()[:, 0].add_(1.0)
        return y


class TrainedStatistics(nn.Module):
    """Batch norm in training mode overwrites its statistics without saying so."""

    def __init__(self) -> None:
        super().__init__()
        self.mean = torch.zeros(3)
        self.var = torch.ones(3)

    def forward(self, x: Tensor) -> Tensor:
        y = nn.functional.batch_norm(torch.ones(4, 3) + self.mean, self.mean, self.var, training=True)
        return x + self.mean + 0.0 * y.sum()


class Inside(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls = self.calls + 1
        return x if self.calls < 100 else 1000.0 * x


class Forked(nn.Module):
    """The attribute is written in a fork."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = Inside()

    def forward(self, x: Tensor) -> Tensor:
        return torch.jit.wait(torch.jit.fork(self.inner, x))


class Listed(nn.Module):
    """Reads numbers without a trace."""

    def forward(self, x: Tensor) -> Tensor:
        numbers: list[float] = x.view(-1).tolist()
        return x if numbers[0] < 2.0 else 1000.0 * x


class Spelled(nn.Module):
    """Reads the sign out of a text."""

    def forward(self, x: Tensor) -> Tensor:
        return x if "-" in str(x) else 1000.0 * x


class Formatted(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if "-" in f"{x}" else 1000.0 * x


class FormattedAny(nn.Module):
    """The tensor goes by the name of Any."""

    def forward(self, x: Tensor) -> Tensor:
        return x if "-" in self.spelled(x) else 1000.0 * x

    def spelled(self, x: Any) -> str:
        return str(x)


class SplitByData(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        first = torch.tensor_split(x.view(-1), (x.view(-1)[:1] > 0).long() * 2)[0]
        return x if first.numel() > 0 else 1000.0 * x


class Contained(nn.Module):
    """Compares tensors in a list."""

    def forward(self, x: Tensor) -> Tensor:
        return 1000.0 * x if [torch.zeros_like(x)].count(x) > 0 else x


class AsksForGradients(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if torch.is_grad_enabled() else 1000.0 * x


class AsksOfGradients(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.requires_grad else 1000.0 * x


class AsksForLeaf(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if not x.is_leaf else 1000.0 * x


class AsksForAutocast(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if not torch.is_autocast_enabled() else 1000.0 * x


class Cuts(nn.Module):
    """Takes the numbers out of the trace."""

    def forward(self, x: Tensor) -> Tensor:
        return x + 1000.0 * x.data


class Prints(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        print(x)
        return x


class Seeds(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        torch.manual_seed(1)
        return x


class Switches(nn.Module):
    """Its block turns gradients off."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            y = 1000.0 * x
        return x + y


PROGRAMS = (
    NumberList, Growing, Looped, Counted, TensorList, OverwrittenEntry, OverwrittenView, TrainedStatistics, Forked,
    Listed, Spelled, Formatted, FormattedAny, SplitByData, Contained, AsksForGradients, AsksOfGradients, AsksForLeaf,
    AsksForAutocast, Cuts, Seeds, Switches,
)  # fmt: skip


@pytest.mark.parametrize("program", PROGRAMS)
def test_hidden_behaviour_is_refused(program: type[nn.Module]) -> None:
    with pytest.raises((StatefulModel, UnsupportedOperator)):
        capture(script(program()), [[1, 3]])


def test_what_is_printed_is_left_out() -> None:
    captured = capture(script(Prints()), [[1, 3]])
    assert all(node.op != "call_function" for node in captured.graph.graph.nodes)


def hook(self: Any, given: tuple[Tensor], result: Tensor) -> Tensor:
    return 1000.0 * result


def test_hooks_of_the_whole_are_refused() -> None:
    module = nn.ReLU()
    module.register_forward_hook(hook)
    with pytest.raises(UnsupportedOperator, match="hooks"):
        capture(script(module), [[1, 3]])


class Honest(nn.Module):
    """Lists, dictionaries, texts and branches on shapes, all made in the call."""

    def forward(self, x: Tensor) -> Tensor:
        kept = [x]
        for position in range(2):
            kept += [x + position]
            kept.append(2 * x)
        named = {"sum": torch.stack(kept).sum(0)}
        named["twice"] = 2 * named["sum"]
        if x.size(1) > 5:
            raise ValueError(f"{x.size(1)} columns, {x.dtype}")
        sizes = [int(side) for side in x.shape]
        y = torch.zeros(sizes)
        y[:, 0] = named["twice"][:, 0]
        return y.add_(named["sum"])


def test_what_a_call_makes_itself_may_be_changed() -> None:
    x = torch.tensor([[0.25, -1.0, 3.0]])
    honest = script(Honest())
    (y,) = outputs(capture(honest, [[1, 3]]), x.double())
    assert torch.equal(y.float(), Honest()(x))


class Sparing(nn.Module):
    """As torchvision's DenseNet: a question that is never asked."""

    def __init__(self, is_sparing: bool) -> None:
        super().__init__()
        self.is_sparing = is_sparing

    def forward(self, x: Tensor) -> Tensor:
        if self.is_sparing and x.requires_grad:
            return 1000.0 * x
        return nn.functional.interpolate(x[None], scale_factor=2.0)[0]


def test_only_what_can_run_counts() -> None:
    assert capture(script(Sparing(is_sparing=False)), [[1, 3]])
    with pytest.raises(UnsupportedOperator, match="requires_grad"):
        capture(script(Sparing(is_sparing=True)), [[1, 3]])


class Shadowed(nn.Module):
    """The attribute bears the name of one that every module has in Python, where it is false."""

    def __init__(self) -> None:
        super().__init__()
        self.call_super_init = True

    def forward(self, x: Tensor) -> Tensor:
        if self.call_super_init:
            return x if x.requires_grad else 1000.0 * x
        return x


def test_attributes_are_those_of_the_script() -> None:
    with pytest.raises(UnsupportedOperator, match="requires_grad"):
        capture(script(Shadowed()), [[1, 3]])
