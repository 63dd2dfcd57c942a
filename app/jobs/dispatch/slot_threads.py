"""The threads that work: one a slot, woken by a ring, else looking at the table now and then.

They live as long as the process: the kernel kills a child when the thread that started it ends.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from ..dispatcher import Slot
from ..record import Kind

logger = logging.getLogger(__name__)

REPAIR_S = 1.0
"""How often a slot that cannot run jobs tries to be able again."""


@dataclass(eq=False)
class SlotState:
    """A slot, whether its thread rests, and whether it was rung for since it last looked at the table."""

    slot: Slot
    is_idle: bool = False
    is_rung: bool = False

    @property
    def is_free(self) -> bool:
        """Whether nothing goes on here, and nothing is about to."""
        return self.is_idle and not self.is_rung


class SlotThreads:
    """Every slot of this process at work."""

    def __init__(self, poll_s: float) -> None:
        self._poll_s = poll_s
        self._change = threading.Condition()
        self._slots: list[SlotState] = []
        self._threads: list[threading.Thread] = []
        self._closed = False

    def open(self, slots: Sequence[Slot]) -> None:
        """Start one thread a slot."""
        self._slots = [SlotState(slot) for slot in slots]
        for state in self._slots:
            thread = threading.Thread(target=self._serve, args=(state,), name=f"slot {state.slot}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def ring(self, *kinds: Kind) -> None:
        """Have every slot for those kinds look at the table, those at work as soon as they are done."""
        with self._change:
            for state in self._slots:
                state.is_rung |= not kinds or any(kind in state.slot.kinds for kind in kinds)
            self._change.notify_all()

    def ring_one(self, kind: Kind) -> None:
        """Have one free slot for that kind look; wait until there is one, and until it is free again."""
        able = [state for state in self._slots if kind in state.slot.kinds]
        if not able:
            return
        with self._change:
            self._change.wait_for(lambda: self._closed or any(state.is_free for state in able))
            chosen = next((state for state in able if state.is_free), None)
            if chosen is not None:
                chosen.is_rung = True
                self._change.notify_all()
                self._change.wait_for(lambda: self._closed or chosen.is_free)

    def close(self) -> None:
        """Let the threads end; the supervisor stops what still runs in them."""
        with self._change:
            self._closed = True
            self._change.notify_all()
        for thread in self._threads:
            thread.join()

    def _serve(self, state: SlotState) -> None:
        while not self._closed:
            is_ready = has_claimed = False
            try:
                is_ready = state.slot.prepare()
                has_claimed = is_ready and state.slot.run_next()
            except Exception:
                logger.exception("slot %s failed and will try again", state.slot)
            if not has_claimed:
                self._rest(state, self._poll_s if is_ready else min(self._poll_s, REPAIR_S))

    def _rest(self, state: SlotState, seconds: float) -> None:
        """Wait for a ring; one that came while the slot looked at the table counts."""
        with self._change:
            state.is_idle = True
            self._change.notify_all()
            self._change.wait_for(lambda: self._closed or state.is_rung, seconds)
            state.is_idle = state.is_rung = False
