"""TorchScript programs that try what a model has no business to do.

Each uses what it finds, as torch leaves out what nobody uses.
"""

from __future__ import annotations

import io
import warnings
import zipfile

import torch
from torch import Tensor


def archive(module: torch.nn.Module) -> bytes:
    """The module as a TorchScript file."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch advertises torch.export
        torch.jit.save(torch.jit.script(module), buffer)
    return buffer.getvalue()


class Honest(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.linear(x))


class Reads(torch.nn.Module):
    """Adds a file's bytes to its input."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.from_file(self.path, False, 16, dtype=torch.uint8).float().sum()


class Overwrites(torch.nn.Module):
    """Maps a file for writing, and writes zeros."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.from_file(self.path, True, 16, dtype=torch.uint8).zero_().float().sum()


class ReadsWhenLoaded(torch.nn.Module):
    """Does it before anybody calls it."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path
        self.training = False
        self.content = torch.zeros(())

    @torch.jit.export
    def __getstate__(self) -> tuple[str, bool]:
        return self.path, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[str, bool]) -> None:
        self.path = state[0]
        self.training = state[1]
        self.content = torch.from_file(self.path, False, 16, dtype=torch.uint8).float().sum()

    def forward(self, x: Tensor) -> Tensor:
        return x + self.content


class OverwritesWhenLoaded(torch.nn.Module):
    """Overwrites before anybody calls it."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path
        self.training = False
        self.content = torch.zeros(())

    @torch.jit.export
    def __getstate__(self) -> tuple[str, bool]:
        return self.path, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[str, bool]) -> None:
        self.path = state[0]
        self.training = state[1]
        self.content = torch.from_file(self.path, True, 16, dtype=torch.uint8).zero_().float().sum()

    def forward(self, x: Tensor) -> Tensor:
        return x + self.content


def _read(path: str) -> Tensor:
    return torch.from_file(path, False, 16, dtype=torch.uint8).float().sum()


def _overwrite(path: str) -> Tensor:
    return torch.from_file(path, True, 16, dtype=torch.uint8).zero_().float().sum()


class ReadsInAnotherThread(torch.nn.Module):
    """Lets a thread of torch's pool do it, when it is loaded: a fork in forward is no function of the input."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path
        self.training = False
        self.content = torch.zeros(())

    @torch.jit.export
    def __getstate__(self) -> tuple[str, bool]:
        return self.path, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[str, bool]) -> None:
        self.path = state[0]
        self.training = state[1]
        self.content = torch.jit.wait(torch.jit.fork(_read, self.path))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.content


class OverwritesInAnotherThread(torch.nn.Module):
    """Lets a thread of torch's pool overwrite."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path
        self.training = False
        self.content = torch.zeros(())

    @torch.jit.export
    def __getstate__(self) -> tuple[str, bool]:
        return self.path, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[str, bool]) -> None:
        self.path = state[0]
        self.training = state[1]
        self.content = torch.jit.wait(torch.jit.fork(_overwrite, self.path))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.content


class NeverEnds(torch.nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        while bool((x == x).all()):
            x = x + 1
        return x


class GrowsWithoutEnd(torch.nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        kept: list[Tensor] = []
        while len(kept) >= 0:
            kept.append(torch.ones(1_000_000))
        return x + kept[0][0]


READERS = (ReadsWhenLoaded, ReadsInAnotherThread)
WRITERS = (OverwritesWhenLoaded, OverwritesInAnotherThread)


class Writes:
    """Unpickled, it makes a file."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (self.path, "w")


def export_that_unpickles(path: str) -> bytes:
    """A torch.export file whose example inputs are a Python object that makes a file at `path`."""
    buffer, poisoned, pickled = io.BytesIO(), io.BytesIO(), io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(torch.export.export(Honest().eval(), (torch.zeros(1, 2),)), buffer)
    torch.save(Writes(path), pickled)
    with zipfile.ZipFile(buffer) as source, zipfile.ZipFile(poisoned, "w", zipfile.ZIP_STORED) as target:
        for name in source.namelist():
            is_example = "sample_inputs" in name and name.endswith(".pt")
            target.writestr(name, pickled.getvalue() if is_example else source.read(name))
    return poisoned.getvalue()
