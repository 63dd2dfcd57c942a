"""Every knob of the service. The only module that reads the environment."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

GIB = 2**30
MIB = 2**20

INHERITED = ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH", "TMPDIR")
"""What a child process sees of the service's environment."""


class Settings(BaseSettings):
    """Read from variables with the prefix `LIPSERVE_`, e.g. `LIPSERVE_PORT=9000`."""

    model_config = SettingsConfigDict(env_prefix="LIPSERVE_", extra="ignore")

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    data_dir: Path = Field(default=Path("var"), description="Directory of the database and the uploaded files.")
    database_url: str = Field(default="", description="SQLAlchemy URL; empty: SQLite inside the data directory.")
    max_upload_bytes: int = Field(default=2 * GIB, ge=1, description="Largest model file accepted.")
    max_unpacked_bytes: int = Field(default=8 * GIB, ge=1, description="Largest sum of uncompressed sizes in a zip.")
    max_dataset_bytes: int = Field(
        default=GIB, ge=1, description="Largest data set accepted, as a file and with its inputs as float64."
    )
    disk_reserve_bytes: int = Field(default=512 * MIB, ge=0, description="Free disk space that uploads leave alone.")
    max_wait_s: float = Field(default=60, ge=0, description="Longest wait that one request may ask for, in seconds.")
    devices: str = Field(
        default="auto",
        description="Slots, e.g. `cuda:0,cuda:1` or `cpu,cpu`; auto: every GPU, else one CPU slot.",
    )
    worker_threads: int = Field(
        default=0, ge=0, description="CPU threads of one slot; 0: the cores divided by the slots."
    )
    worker_module: str = Field(default="app.worker", description="Module that is run as the child process.")
    worker_start_s: float = Field(default=180, gt=0, description="Time that a child has to become ready, in seconds.")
    max_message_bytes: int = Field(default=256 * MIB, ge=1024, description="Longest message accepted from a child.")
    inspect_timeout_s: float = Field(
        default=120, gt=0, description="Time limit for reading an uploaded file, in seconds."
    )
    default_timeout_s: float = Field(default=600, gt=0, description="Time limit of a job that names none, in seconds.")
    max_timeout_s: float = Field(default=86_400, gt=0, description="Longest time limit a job may ask for, in seconds.")
    lease_s: float = Field(
        default=30, gt=0, description="A supervisor silent for this long has lost its jobs, in seconds."
    )
    poll_s: float = Field(default=1, gt=0, description="How often an idle slot looks for work unasked, in seconds.")
    sweep_s: float = Field(
        default=2, gt=0, description="How often jobs of lost supervisors are looked for, in seconds."
    )
    max_losses: int = Field(default=2, ge=0, description="How often a job is retried when its supervisor was lost.")
    progress_s: float = Field(
        default=0.5, ge=0, description="Least time between two stored progress reports, in seconds."
    )
    shutdown_s: int = Field(
        default=5, ge=0, description="Time that open requests have when the service stops, in seconds."
    )

    def sqlalchemy_url(self) -> str:
        """The database's URL, the default filled in."""
        return self.database_url or f"sqlite:///{self.data_dir / 'lipserve.db'}"


def inherited_environment() -> dict[str, str]:
    """The part of the service's environment that a child process starts with."""
    return {name: os.environ[name] for name in INHERITED if name in os.environ}


def visible_gpus() -> list[str]:
    """GPUs that this process may use: those of `CUDA_VISIBLE_DEVICES`, else all that the driver shows."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [gpu for gpu in visible.split(",") if gpu.strip()]
    present = Path("/dev").glob("nvidia[0-9]*")
    return sorted(path.name.removeprefix("nvidia") for path in present)


def core_count() -> int:
    """CPU cores that this process may run on."""
    return len(os.sched_getaffinity(0))
