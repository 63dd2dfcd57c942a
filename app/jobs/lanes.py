"""What is known of a job before it runs: whether it may start in the quick lane, and how long it may read."""

from __future__ import annotations

from ..contract.plain import Json

CHEAP = frozenset({"frobenius", "autolip", "autolip_power", "gradient"})
"""Methods whose time is one walk through the model, or a few."""
SMALL_BYTES = 16 * 2**20
"""Up to here a file is read, and walked through, in seconds."""
TINY_BYTES = 64 * 2**10
"""Up to here every method is likely to be done in seconds."""
READ_S = 30.0
READ_BYTES_PER_S = 8 * 2**20


def is_quick_analysis(request: Json, timeout_s: float, size_bytes: int, quick_s: float) -> bool:
    """Whether the analysis is likely to be over within `quick_s` seconds; who is wrong loses that time."""
    limit_s = min(request.get("budget_s", timeout_s), timeout_s)
    if size_bytes > SMALL_BYTES:
        return False
    return 2 * limit_s <= quick_s or size_bytes <= TINY_BYTES or CHEAP.issuperset(_methods(request))


def is_quick_reading(size_bytes: int) -> bool:
    """Whether a file is likely to be read in seconds."""
    return size_bytes <= SMALL_BYTES


def reading_limit(size_bytes: int, longest_s: float) -> float:
    """How long a file may take to be read, in seconds: a small one that takes long does not read."""
    return min(READ_S + size_bytes / READ_BYTES_PER_S, longest_s)


def _methods(request: Json) -> list[str]:
    methods = request["methods"]
    return [methods] if isinstance(methods, str) else methods
