"""How a child comes to be: its device, the policy that confines it, and what it says of itself when it is ready."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from ..contract.plain import Json
from ..settings import Settings
from ..worker.confinement.policy import Policy
from . import memory
from .child import Child, ChildDied, ProtocolBroken
from .devices import Device, slot_devices
from .forkserver import ForkFailed, ForkServer

START_POLL_S = 0.2

Role = Literal["capture", "bounding"]


class StartFailed(Exception):
    """The child did not become ready; the text says why."""


@dataclass
class WarmChild:
    """A child that waits. Its first job makes it a capture child, which gets models' files, or a bounding child, which
    gets captured graphs only; it stays what it is.
    """

    child: Child
    device: str
    confinement: str
    details: Json
    role: Role | None = None

    def may_be(self, role: Role) -> bool:
        """Whether it is what is needed, or nothing yet."""
        return self.role in (None, role)


class ChildFactory:
    """Starts children as the settings say."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        slots = slot_devices(settings)
        shared = slots[0].environment | {"CUDA_VISIBLE_DEVICES": ""}
        self.forkserver = ForkServer(settings.worker_module, shared, settings.worker_start_s)
        self._on_gpu = Counter(slot.gpu for slot in slots)
        self._memory_bytes = memory.job_bytes(settings.job_memory_bytes, len(slots))

    def start(self, device: Device, gives_up: Callable[[], bool]) -> WarmChild:
        """A child that is ready; StartFailed when it dies, talks nonsense, takes too long, or `gives_up()`."""
        return self.finish(self.begin(device, gives_up), device, gives_up)

    def begin(self, device: Device, gives_up: Callable[[], bool]) -> Child:
        """A child that is getting ready; StartFailed when there is none."""
        try:
            return Child(self.forkserver.fork([self._policy(device).to_json()], device.environment, gives_up))
        except ForkFailed as error:
            raise StartFailed(str(error)) from error

    def close(self) -> None:
        self.forkserver.close()

    def finish(self, child: Child, device: Device, gives_up: Callable[[], bool]) -> WarmChild:
        """The child once it is ready; as `start`."""
        try:
            return self._when_ready(child, device, gives_up)
        except (ChildDied, ProtocolBroken, TimeoutError) as error:
            child.kill()
            raise StartFailed(str(error)) from error
        except BaseException:
            child.kill()
            raise

    def _policy(self, device: Device) -> Policy:
        settings = self._settings
        return Policy(
            level=settings.confinement,
            untrusted_torchscript=settings.untrusted_torchscript,
            memory_bytes=self._memory_bytes,
            gpu=device.is_gpu,
            gpu_memory_fraction=settings.gpu_memory_fraction / max(1, self._on_gpu[device.gpu]),
            user=settings.worker_uid,
            group=settings.worker_gid,
            hidden=(str(settings.data_dir.absolute()),),
        )

    def _when_ready(self, child: Child, device: Device, gives_up: Callable[[], bool]) -> WarmChild:
        deadline = time.monotonic() + self._settings.worker_start_s
        while time.monotonic() < deadline and not gives_up():
            if (message := child.receive(START_POLL_S)) is not None:
                child.end_turn()
                ready = message.body
                name = device.name if ready["device"] == "cuda" else "cpu"
                details = ready["details"] | {"torch": ready["torch"]}
                return WarmChild(child, name, ready["confinement"], details)
        raise TimeoutError("the child was not ready in time")
