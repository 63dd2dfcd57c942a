"""The order of things. Each step that fails is noted; none stops the child."""

from __future__ import annotations

import sys
from contextlib import suppress

from . import identity, landlock, libraries, limits, namespaces, readable
from .policy import Achieved, Policy

SWITCHED_OFF = "LIPSERVE_CONFINEMENT is none"


def before_warm_up(policy: Policy) -> Achieved:
    """Limits, then files: while the process has one thread, so that every later one is bound too."""
    libraries.install()
    limits.limit(policy)
    achieved = Achieved().having("limits")
    if policy.level == "none":
        return achieved.lacking(SWITCHED_OFF)
    paths = [*readable.paths(policy.gpu), *policy.readable]
    if not policy.gpu:
        with suppress(OSError):  # more than is asked for, where the kernel allows it
            namespaces.hide(paths)
            achieved = achieved.having("names")
    try:
        landlock.restrict(paths, readable.devices(policy.gpu))
    except OSError as error:
        return achieved.lacking(f"files: the kernel has no Landlock ({error})")
    achieved = achieved.having("files")
    for path in readable.exposed(policy.hidden, paths):
        achieved = achieved.lacking(f"files: {path} lies inside a folder that Python must read")
    return achieved


def after_warm_up(policy: Policy, achieved: Achieved) -> Achieved:
    """Memory, identity, system calls: once torch runs, and all that it imports late is there."""
    limits.limit_memory(policy)
    if policy.level == "none":
        return achieved
    achieved = _drop_root(policy, achieved)
    return _forbid_calls(policy, achieved)


def _drop_root(policy: Policy, achieved: Achieved) -> Achieved:
    if not identity.is_root():
        return achieved.having("no root")
    if "files" not in achieved.layers:
        return achieved.lacking("identity: without Landlock the child stays root, or could not read Python's files")
    try:
        limits.limit_processes(policy)
        identity.drop(policy, [__file__, sys.executable, sys.modules["torch"].__file__ or ""])
    except (OSError, RuntimeError, KeyError) as error:
        return achieved.lacking(f"identity: root could not be dropped ({error})")
    return achieved.having("no root")


def _forbid_calls(policy: Policy, achieved: Achieved) -> Achieved:
    try:
        from . import seccomp

        seccomp.restrict(policy.gpu)
    except (ImportError, OSError, RuntimeError) as error:
        return achieved.lacking(f"system calls: no seccomp ({type(error).__name__}: {error})")
    return achieved.having("system calls")
