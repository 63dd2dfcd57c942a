"""The quick lane: the spare child runs short jobs while all slots of its host are busy with longer ones.

A job that is not over within `quick_s` seconds goes back to the queue, from then on for the slots alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..store.jobs import JobRepository
from ..store.line import Wanted
from .child_factory import WarmChild
from .record import READINGS, Kind
from .slot_context import WorkerView
from .slots import WorkerSlot
from .spare import Spare
from .states import CLAIM

LANES = (Wanted(READINGS, only_quick=True, program_share=1), Wanted((Kind.ANALYZE,), only_quick=True))
"""Somebody waits for a reading, so these go first."""


class LentChild:
    """Where the spare sits while it works: taken for one job, and given back."""

    def __init__(self, spare: Spare) -> None:
        self._spare = spare
        self._is_lent = False
        self.warm: WarmChild | None = None

    @property
    def is_failing(self) -> bool:
        """Whether the last child did not start: the spare sees to that."""
        return False

    def fill(self, _gives_up: Callable[[], bool]) -> bool:
        """Whether the spare sits here."""
        if self.warm is None:
            self.warm = self._spare.lend()
            self._is_lent = self.warm is not None
        return self.warm is not None

    def empty(self) -> None:
        """Kill the child, if there is one; the spare is made anew."""
        warm, self.warm = self.warm, None
        if warm is not None:
            warm.child.kill()
        self.give_back()

    def give_back(self) -> None:
        """Let the spare be a spare again."""
        if self._is_lent:
            self._is_lent = False
            warm, self.warm = self.warm, None
            if warm is not None and warm.role == "capture":  # slots need the spare for bounding
                warm.child.kill()
                warm = None
            self._spare.give_back(warm)

    close = empty


class QuickSlot:
    """A slot that works only while those that could do the job as well are busy."""

    def __init__(
        self, slot: WorkerSlot, holder: LentChild, spare: Spare, repository: JobRepository, others: Sequence[WorkerSlot]
    ) -> None:
        self._slot = slot
        self._holder = holder
        self._spare = spare
        self._repository = repository
        self._others = others

    def __str__(self) -> str:
        return str(self._slot)

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """What can run here."""
        return self._slot.kinds

    def view(self) -> WorkerView:
        """The slot's state at this moment."""
        return self._slot.view()

    def prepare(self) -> bool:
        """Whether the spare waits."""
        is_ready = self._spare.is_ready()
        self._slot.rest(is_ready)
        return is_ready

    def run_next(self) -> bool:
        """Run the first quick job that no idle slot of this host will take; False when none waits."""
        return any(self._run(wanted) for wanted in LANES)

    def drop_child(self) -> None:
        """Kill the children that work here."""
        self._slot.drop_child()

    def _run(self, wanted: Wanted) -> bool:
        is_taken = any(other.is_idle for other in self._others if set(other.kinds) & set(wanted.kinds))
        if is_taken or not self._repository.is_waiting(CLAIM, wanted):
            return False
        try:
            return self._holder.fill(lambda: True) and self._slot.run(wanted)
        finally:
            self._holder.give_back()
