"""The state machine of a job, all of it.

    queued ----> running ----> succeeded | failed | timed_out
      |  ^         |  |
      |  '---------'  '--> canceling --> canceled
      '-----------------------------------^

`running -> queued` is a job whose supervisor is gone. Terminal states have no way out.
"""

from __future__ import annotations

from enum import StrEnum

from ..store.transitions import Move


class Status(StrEnum):
    """The states of the contract."""

    QUEUED = "queued"
    RUNNING = "running"
    CANCELING = "canceling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"
    TIMED_OUT = "timed_out"


TERMINAL = (Status.SUCCEEDED, Status.FAILED, Status.CANCELED, Status.TIMED_OUT)
ACTIVE = (Status.QUEUED, Status.RUNNING, Status.CANCELING)
HELD = (Status.RUNNING, Status.CANCELING)

CLAIM = Move((Status.QUEUED,), Status.RUNNING)
SUCCEED = Move((Status.RUNNING,), Status.SUCCEEDED)
FAIL = Move((Status.RUNNING,), Status.FAILED)
TIME_OUT = Move((Status.RUNNING,), Status.TIMED_OUT)
REQUEUE = Move((Status.RUNNING,), Status.QUEUED)
CANCEL_QUEUED = Move((Status.QUEUED,), Status.CANCELED)
CANCEL_RUNNING = Move((Status.RUNNING,), Status.CANCELING)
CANCELED = Move((Status.CANCELING,), Status.CANCELED)
OVERDUE = Move((Status.QUEUED,), Status.TIMED_OUT)
