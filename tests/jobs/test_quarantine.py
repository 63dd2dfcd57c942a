"""When a GPU rests: by the words of how a job ended."""

from __future__ import annotations

import pytest

from app.errors import OutOfMemory, Problem, TimeLimit
from app.jobs.quarantine import Quarantine, is_fault
from app.refusals import AnalysisFailed

LOST = [
    "AcceleratorError: CUDA error: uncorrectable ECC error encountered",
    "RuntimeError: CUDA error: an illegal memory access was encountered",
    "RuntimeError: cuBLAS error: CUBLAS_STATUS_EXECUTION_FAILED when calling cublasDgemm",
    "cusolver error: CUSOLVER_STATUS_INTERNAL_ERROR",
    "NVRM: Xid (PCI:0000:01:00): 79, GPU has fallen off the bus.",
    "no requested method could answer. autolip: AcceleratorError: CUDA error: unspecified launch failure",
]
"""As CUDA and the driver say it."""


@pytest.mark.parametrize("words", LOST)
def test_a_fault_of_the_device_ends_its_child_and_lets_it_rest(words: str) -> None:
    device = Quarantine(60.0)
    device.note(AnalysisFailed(words))
    assert is_fault(AnalysisFailed(words))
    assert words in device.reason


@pytest.mark.parametrize(
    ("problem", "ends_the_child"),
    [
        (AnalysisFailed("CUDA error: device-side assert triggered"), True),
        (
            OutOfMemory("The analysis needed more memory than there is. CUDA out of memory. Tried to allocate 2 GiB"),
            False,
        ),
        (OutOfMemory("The analysis needed more memory than there is. CUBLAS_STATUS_ALLOC_FAILED"), False),
        (AnalysisFailed("IndexError: index 7"), False),
        (TimeLimit("The job was stopped at its time limit."), False),
        (None, False),
    ],
)
def test_what_a_job_does_to_itself_is_none(problem: Problem | None, ends_the_child: bool) -> None:
    device = Quarantine(60.0)
    device.note(problem)
    assert (device.reason, is_fault(problem)) == ("", ends_the_child)
