"""Where a slot's child sits: filled when it is empty, from the spare where that is possible."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Protocol

from .child_factory import ChildFactory, StartFailed, WarmChild
from .devices import Device
from .spare import Spare

logger = logging.getLogger(__name__)

MAX_RETRY_S = 30.0


class ChildHolder(Protocol):
    """Where a slot's child sits, if one does."""

    warm: WarmChild | None

    @property
    def is_failing(self) -> bool:
        """Whether the last child did not start."""

    def fill(self, gives_up: Callable[[], bool]) -> bool:
        """Whether a warm child sits here, after an attempt to have one."""

    def empty(self) -> None:
        """Kill the child, if there is one."""

    def close(self) -> None:
        """Kill the child: the service stops."""


class DeviceChild:
    """One device's child. `fill` and `empty` belong to one thread."""

    def __init__(self, device: Device, factory: ChildFactory, spare: Spare | None) -> None:
        self._device = device
        self._factory = factory
        self._spare = None if device.is_gpu else spare
        self._failures = 0
        self._retry_at = 0.0
        self.warm: WarmChild | None = None

    @property
    def is_failing(self) -> bool:
        """Whether the last child did not start."""
        return self._failures > 0

    def fill(self, gives_up: Callable[[], bool]) -> bool:
        """Whether a warm child sits here; where there is none, take the spare or start one, but not too often."""
        if self.warm is not None and not (self.warm.child.is_alive() and self.warm.child.is_quiet()):
            self.empty()
        if self.warm is None and self._spare is not None:
            self.warm = self._spare.take()
        if self.warm is None and time.monotonic() >= self._retry_at:
            self._start(gives_up)
        if self.warm is not None and self._spare is not None:
            self._spare.want()
        return self.warm is not None

    def empty(self) -> None:
        """Kill the child, if there is one."""
        warm, self.warm = self.warm, None
        if warm is not None:
            warm.child.kill()

    def close(self) -> None:
        """Kill the child, and the spare with it: the service stops."""
        self.empty()
        if self._spare is not None:
            self._spare.close()

    def _start(self, gives_up: Callable[[], bool]) -> None:
        try:
            self.warm = self._factory.start(self._device, gives_up)
        except StartFailed as error:
            self._failures += 1
            self._retry_at = time.monotonic() + min(MAX_RETRY_S, 2.0**self._failures)
            if not gives_up():
                logger.error("a worker on %s did not start: %s", self._device.name, error)
        else:
            self._failures = 0
