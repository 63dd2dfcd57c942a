"""Whether a file that is a program may run in this process.

A TorchScript archive is a program; a torch.export archive may be one, as torch unpickles parts of it.
"""

from __future__ import annotations

import io

from ..lipschitz.errors import LipschitzError
from ..lipschitz.formats import detect
from .confinement import Achieved, Policy

NAMES = {"torchscript": "TorchScript", "torch_export": "torch.export"}


class ProgramRefused(LipschitzError):
    """The file is a program, and this process is not confined as the operator wants it for programs."""

    slug = "torchscript-refused"


def admit(data: bytes, policy: Policy, achieved: Achieved) -> None:
    """Raise ProgramRefused for an archive that may not run here, NotAModel for what is no model."""
    name = NAMES.get(detect(io.BytesIO(data)))
    if name is None or policy.untrusted_torchscript == "trust":
        return
    if policy.untrusted_torchscript == "refuse":
        raise ProgramRefused(
            f"{name} archives are programs, and LIPSERVE_UNTRUSTED_TORCHSCRIPT=refuse keeps them out: send ONNX."
        )
    if achieved.level != "full":
        raise ProgramRefused(
            f"{name} archives are programs, and the worker's confinement is {achieved.level}: "
            f"{'; '.join(achieved.missing)}. Send ONNX, or have the operator mend this or set "
            "LIPSERVE_UNTRUSTED_TORCHSCRIPT=trust."
        )
