"""`python -m app.worker POLICY`: one child process of a supervisor, confined as the policy says (JSON)."""

from __future__ import annotations

import sys

from .confinement import Policy, before_warm_up
from .loop import Library, serve
from .parent import close_inherited


def load() -> Library:
    """Confine this process, then load the library, which the fork server has in memory."""
    policy = Policy.from_json(sys.argv[1])
    achieved = before_warm_up(policy)
    from .run import LipschitzLibrary

    return LipschitzLibrary(policy, achieved)


if __name__ == "__main__":
    close_inherited()
    serve(load)
