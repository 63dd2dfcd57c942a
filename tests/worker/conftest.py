"""The children that hostile files are given to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from app.jobs.child_factory import WarmChild
from tests.worker.children import started


@pytest.fixture(scope="session", params=["root", "ordinary"])
def warm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WarmChild]:
    """A child with the real library, which every refusal has to leave at work."""
    folder = tmp_path_factory.mktemp("child")
    folder.chmod(0o755)
    with started("app.worker", folder, request.param, job_memory_bytes=2**30) as child:
        yield child
