"""What every child needs, imported once for all: torch, the library, and what torch imports at its first use."""

import torch._inductor.config  # noqa: F401 (make_fx asks it for a setting, and it takes a second)

from . import run  # noqa: F401
