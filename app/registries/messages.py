"""What a webhook tells of a job that is over."""

from __future__ import annotations

import json
from collections.abc import Callable

from sqlalchemy import RowMapping

from ..contract.job import Urls, time_of


def message_of(public_url: str) -> Callable[[RowMapping], bytes]:
    """Renders a message; `public_url` is put before the paths of the job's parts."""
    prefix = public_url.rstrip("/")

    def render(row: RowMapping) -> bytes:
        facts = row["facts"]
        paths = Urls.of(
            facts["id"], facts["has_certificate"], facts["has_witness"], facts.get("has_radii", False)
        ).model_dump()
        urls = {name: path and prefix + path for name, path in paths.items()}
        timestamp = time_of(facts["finished_at"]).isoformat().replace("+00:00", "Z")
        data = {"id": facts["id"], "status": facts["status"], "urls": urls}
        return json.dumps({"type": row["type"], "timestamp": timestamp, "data": data}).encode()

    return render
