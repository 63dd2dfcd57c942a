"""What keeps a child process from doing more than its job: limits, files, identity, system calls.

Applied in two steps, around a first tiny analysis; docs/confinement.md says what, in which order, and why.
"""

from .policy import Achieved, Policy
from .steps import after_warm_up, before_warm_up

__all__ = ["Achieved", "Policy", "after_warm_up", "before_warm_up"]
