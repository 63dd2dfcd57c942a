"""What keeps a child process from doing more than its job: limits, files, identity, system calls.

Applied in two steps, around the import of torch; docs/confinement.md says what, in which order, and why.
"""

from app.worker.confinement.policy import Achieved, Policy
from app.worker.confinement.steps import after_torch, before_torch

__all__ = ["Achieved", "Policy", "after_torch", "before_torch"]
