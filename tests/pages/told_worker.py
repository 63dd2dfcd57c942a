"""The fake library, whose result is the one that the uploaded file holds, and which reports as it is told."""

from __future__ import annotations

import time
from typing import Any

from app.worker.loop import Progress, serve
from tests.jobs.fake_worker import FakeLibrary, instructions


class ToldLibrary(FakeLibrary):
    def analyze(
        self, data: bytes, request: dict[str, object], progress: Progress, dataset: bytes | None
    ) -> dict[str, Any]:
        told = instructions(data)
        for report in told.get("reports", []):
            progress(report)
            time.sleep(told["every"])
        answer = super().analyze(data, request, progress, dataset)
        return told.get("result", answer)


if __name__ == "__main__":
    serve(ToldLibrary)
