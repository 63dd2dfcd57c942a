"""Every knob of the service. The only module that reads the environment."""

from __future__ import annotations

import os
import re
import socket
from itertools import takewhile
from pathlib import Path
from typing import Any, Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

GIB = 2**30
MIB = 2**20

_GPU_NAME = re.compile(r"\d+|(GPU|MIG)-.+")
INHERITED = ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH", "TMPDIR")
"""What a child process sees of the service's environment."""


class Settings(BaseSettings):
    """Read from variables with the prefix `LIPSERVE_`, e.g. `LIPSERVE_PORT=9000`."""

    model_config = SettingsConfigDict(env_prefix="LIPSERVE_", extra="ignore")

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    data_dir: Path = Field(default=Path("var"), description="Directory of the database and the uploaded files.")
    database_url: str = Field(default="", description="SQLAlchemy URL; empty: SQLite inside the data directory.")
    max_upload_bytes: int = Field(default=4 * GIB, ge=1, description="Largest model accepted, all its files together.")
    max_unpacked_bytes: int = Field(default=8 * GIB, ge=1, description="Largest sum of uncompressed sizes in a zip.")
    max_dataset_bytes: int = Field(
        default=GIB, ge=1, description="Largest data set accepted, as a file and with its inputs as float64."
    )
    disk_reserve_bytes: int = Field(default=512 * MIB, ge=0, description="Free disk space that uploads leave alone.")
    max_wait_s: float = Field(default=60, ge=0, description="Longest wait that one request may ask for, in seconds.")
    devices: str = Field(
        default="auto", description="Slots, e.g. `cuda:0,cuda:1` or `cpu,cpu`; auto: every GPU, else one CPU slot."
    )
    worker_threads: int = Field(
        default=0, ge=0, description="CPU threads of one slot; 0: the cores that are granted, divided by the slots."
    )
    worker_module: str = Field(default=f"{__package__}.worker", description="Module that is run as the child process.")
    confinement: Literal["full", "none"] = Field(
        default="full", description="How far children are confined: as far as the kernel allows, or not at all."
    )
    untrusted_torchscript: Literal["refuse", "sandbox", "trust"] = Field(
        default="sandbox",
        description="TorchScript and torch.export files are programs. refuse: never run them; sandbox: only where "
        "confinement is full; trust: wherever.",
    )
    worker_uid: int = Field(default=65_534, ge=1, description="User that children become when the service is root.")
    worker_gid: int = Field(default=65_534, ge=1, description="Group that children become when the service is root.")
    warm_spare: bool = Field(
        default=True, description="Whether one more child waits to replace a CPU slot's child that ends."
    )
    quick_s: float = Field(
        default=10,
        ge=0,
        description="How long a job that is expected to be short may have that spare child while all slots are busy, "
        "in seconds; 0: never.",
    )
    job_memory_bytes: int = Field(
        default=0, ge=0, description="Memory that a job may take; 0: all that the service may have, divided by slots."
    )
    gpu_memory_fraction: float = Field(
        default=1.0, gt=0, le=1, description="Share of a GPU's memory that the children on it may take together."
    )
    quarantine_s: float = Field(
        default=300, ge=0, description="How long a GPU slot rests after a fault of its device, in seconds."
    )
    worker_start_s: float = Field(default=180, gt=0, description="Time that a child has to become ready, in seconds.")
    max_message_bytes: int = Field(
        default=64 * MIB, ge=1024, description="Largest witness or certificate that is accepted from a child."
    )
    inspect_timeout_s: float = Field(
        default=120,
        gt=0,
        description="Longest time for reading an uploaded file, in seconds; a file gets 30 and one for every 8 MiB.",
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
    anonymous: bool = Field(
        default=False, description="Whether to serve without keys on an address that is not this host's loopback."
    )
    allowed_hosts: str = Field(
        default="",
        description="Host names, beside localhost and that of `LIPSERVE_PUBLIC_URL`, under which a service without "
        "keys answers, and from whose pages a service behind a proxy takes requests; each with or without a port, e.g. "
        "`lip.lan,10.1.0.0/16,lip.example:8443`.",
    )
    max_connections: int = Field(
        default=1000, ge=1, description="Most connections; those that wait for their client yield to new ones."
    )
    max_connections_per_address: int = Field(
        default=800, ge=1, description="Most connections of one address, or of one IPv6 network (/64)."
    )
    max_header_bytes: int = Field(
        default=64 * 2**10, ge=4096, description="Largest head of a request: its line and its headers."
    )
    header_timeout_s: float = Field(
        default=10, gt=0, description="Time that a client has for the head of a request, in seconds."
    )
    stall_timeout_s: float = Field(
        default=30, gt=0, description="How long a client may be slower than `LIPSERVE_MIN_CLIENT_RATE`, in seconds."
    )
    min_client_rate: float = Field(
        default=1024, gt=0, description="Slowest that a body may come and an answer be taken, in bytes a second."
    )
    idempotency_s: float = Field(
        default=86_400, gt=0, description="How long the answer to an Idempotency-Key is kept, in seconds."
    )
    log_format: Literal["auto", "text", "json"] = Field(
        default="auto", description="Log lines as text or JSON; auto: text on a terminal, else JSON."
    )
    otel: bool = Field(default=False, description="Whether to send OpenTelemetry traces; needs the extra `telemetry`.")
    drain_s: float = Field(
        default=0,
        ge=0,
        description="Least time that a stopping service goes on answering, new work with 503, so that load "
        "balancers notice, in seconds.",
    )
    max_queued: int = Field(default=10_000, ge=1, description="Most analyses that wait, of all owners.")
    max_queued_per_owner: int = Field(default=1_000, ge=1, description="Most analyses of one owner that wait.")
    queue_timeout_s: float = Field(
        default=86_400, gt=0, description="Longest wait in the queue of a job that names none, in seconds."
    )
    retention_s: float = Field(
        default=30 * 86_400, gt=0, description="How long results are kept after a job's end, in seconds."
    )
    host_name: str = Field(
        default_factory=socket.gethostname,
        pattern="^[^/]{1,64}$",
        description="Name of this machine among those that share the database; by default its host name.",
    )
    local_workers: bool = Field(default=True, description="Whether `serve` runs jobs itself, on this machine.")
    dispatcher: Literal["embedded", "celery"] = Field(
        default="embedded",
        description="How workers hear of jobs: embedded, from this process and PostgreSQL; celery, from a broker.",
    )
    broker_url: str = Field(
        default="redis://127.0.0.1:6379/0",
        description="The broker of the dispatcher celery: Redis or Valkey (`redis://`), or RabbitMQ (`amqp://`).",
    )
    blob_url: str = Field(
        default="",
        description="Where uploaded files are kept: a directory or, e.g., `s3://bucket/prefix`; empty: the data "
        "directory.",
    )
    blob_options: dict[str, Any] = Field(
        default_factory=dict,
        description='Options of the file store\'s fsspec driver as JSON, e.g. `{"endpoint_url": "http://..."}`.',
    )
    outbound_allow: str = Field(
        default="",
        description="Places beside the public internet that may be connected to for callers (sources, webhooks): host "
        "names, addresses, networks, each with or without a port, e.g. `hooks.lan:8080,10.1.0.0/16`.",
    )
    public_url: str = Field(
        default="",
        description="Where callers reach the service, put before the paths in webhooks, e.g. `https://lip.example`.",
    )
    webhook_secret: str = Field(
        default="", description="What webhooks' signing secrets are made of; empty: made and kept in the database."
    )
    webhook_pauses_s: list[float] = Field(
        default=[5, 30, 120, 600, 3600, 14_400, 43_200],
        description="The waits between the tries of a webhook as JSON, in seconds; a fifth more or less at random.",
    )
    webhook_timeout_s: float = Field(default=15, gt=0, description="Time for one try of a webhook, in seconds.")
    source_timeout_s: float = Field(
        default=300, gt=0, description="Time for fetching a model from elsewhere, in seconds."
    )
    mlflow_tracking_uri: str = Field(
        default="", description="MLflow server that models are fetched from and bounds written to; may be private."
    )
    mlflow_token: str = Field(
        default="", description="Bearer token for the MLflow server, or `user:password` for basic authentication."
    )
    mlflow_webhook_secret: str = Field(
        default="", description="Secret of the MLflow server's webhooks; empty: its hooks are refused."
    )
    huggingface_endpoint: str = Field(
        default="https://huggingface.co", description="The hub that models are fetched from; may be private."
    )
    huggingface_token: str = Field(default="", description="Token for the hub; empty: public models only.")
    huggingface_webhook_secret: str = Field(
        default="", description="Secret of the hub's webhooks; empty: its hooks are refused."
    )
    huggingface_files: str = Field(
        default="model.onnx,onnx/model.onnx,*.onnx,*.pt2,*.torchscript,*.torchscript.pt",
        description="Which file of a pushed repository is analysed: the first that fits, in this order.",
    )
    hook_request: dict[str, Any] = Field(
        default_factory=dict, description="Request fields of jobs that hooks submit, as JSON."
    )
    hook_owner: str = Field(default="", description="Owner of the models and jobs that come from hooks.")
    hook_tolerance_s: float = Field(
        default=300, gt=0, description="Oldest signature that a hook's delivery may have, in seconds."
    )
    hook_pauses_s: list[float] = Field(
        default=[2, 10, 60, 300, 1800],
        description="The waits between the tries to fetch a hook's model or to write its tags, as JSON, in seconds.",
    )
    shutdown_s: int = Field(
        default=5, ge=0, description="Time that open requests have when the service stops, in seconds."
    )

    def sqlalchemy_url(self) -> str:
        """The database's URL, the default filled in."""
        return self.database_url or f"sqlite:///{self.data_dir / 'lipserve.db'}"


class ClientSettings(BaseSettings):
    """What the command line needs to reach a service."""

    model_config = SettingsConfigDict(env_prefix="LIPSERVE_", extra="ignore")

    url: str = Field(default="", description="The service that `lipserve analyze` asks; empty: work on this machine.")
    key: str | None = Field(default=None, description="The API key that `lipserve analyze` shows the service.")


def inherited_environment() -> dict[str, str]:
    """The part of the service's environment that a child process starts with."""
    return {name: os.environ[name] for name in INHERITED if name in os.environ}


def visible_gpus(devices: Path = Path("/dev")) -> list[str]:
    """GPUs that this process may use: those of `CUDA_VISIBLE_DEVICES`, else all that the driver shows.

    As CUDA reads it: what follows the first entry that is no device (`-1`, say) does not count. Without the variable
    they are numbered from 0: a container that was given `/dev/nvidia3` alone has GPU 0.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return [str(index) for index, _ in enumerate(devices.glob("nvidia[0-9]*"))]
    return list(takewhile(_GPU_NAME.fullmatch, (gpu.strip() for gpu in visible.split(","))))
