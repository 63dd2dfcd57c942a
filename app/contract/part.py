"""What all parts of a result have in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Part(BaseModel):
    """A part of a result."""

    model_config = ConfigDict(extra="allow")
