"""The rooms that the endpoints use, as types to ask for in a signature."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from app.jobs.admission import ModelService
from app.jobs.datasets import DatasetService
from app.jobs.service import JobService
from app.jobs.supervisor import Supervisor
from app.jobs.watch import Watch
from app.settings import Settings
from app.store.blobs import Blobs
from app.store.database import Database


@dataclass(frozen=True)
class House:
    """Everything behind the API, built once at start."""

    settings: Settings
    database: Database
    blobs: Blobs
    dataset_blobs: Blobs
    watch: Watch
    jobs: JobService
    models: ModelService
    datasets: DatasetService
    supervisor: Supervisor


def of_request(request: Request) -> House:
    """The house that the application was started with."""
    house: House = request.app.state.house
    return house


InHouse = Annotated[House, Depends(of_request)]
