"""What a child is asked to be confined to, and what it was."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import Literal

from ...contract.plain import Json

Asked = Literal["full", "none"]
Level = Literal["full", "partial", "none"]
Untrusted = Literal["refuse", "sandbox", "trust"]

NOBODY = 65_534


@dataclass(frozen=True)
class Policy:
    """Handed by the supervisor to its child as JSON. Sizes in bytes; 0 leaves memory unlimited.

    `memory_bytes` is what a job may take on top of what torch itself needs. `user` and `group` are taken when the
    child was started as root. `readable` is read besides what Python needs; nothing of `hidden` may be readable.
    """

    level: Asked = "full"
    untrusted_torchscript: Untrusted = "sandbox"
    memory_bytes: int = 0
    gpu: bool = False
    gpu_memory_fraction: float = 1.0
    max_open_files: int = 1024
    max_processes: int = 16_384
    user: int = NOBODY
    group: int = NOBODY
    readable: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()

    def to_json(self) -> str:
        """The policy as one argument of a command line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Policy:
        """The policy that `to_json` wrote."""
        values: Json = json.loads(text)
        for name in {"readable", "hidden"} & values.keys():
            values[name] = tuple(values[name])
        return cls(**values)


@dataclass(frozen=True)
class Achieved:
    """The layers in force, and why those that are missing are missing."""

    layers: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def level(self) -> Level:
        """`full` when nothing is missing, `none` when neither files nor system calls are restricted."""
        if not self.missing:
            return "full"
        return "partial" if {"files", "system calls"} & {*self.layers} else "none"

    def having(self, layer: str) -> Achieved:
        """With one more layer in force."""
        return replace(self, layers=(*self.layers, layer))

    def lacking(self, reason: str) -> Achieved:
        """With one more reason why this is not full confinement."""
        return replace(self, missing=(*self.missing, reason))

    def details(self) -> dict[str, list[str]]:
        """Layers and reasons as JSON."""
        return {"layers": [*self.layers], "missing": [*self.missing]}
