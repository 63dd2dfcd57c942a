"""The service's way to an answer without a server: one child captures the model, another bounds the captured graph."""

from __future__ import annotations

import hashlib
import io
import json
import math
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from ..client import OnProgress
from ..contract.comparison import ComparisonFields
from ..contract.domain import Document
from ..contract.plain import Json
from ..contract.progress import Progress
from ..contract.request import AnalysisFields
from ..errors import Problem, TimeLimit, TorchscriptRefused, WorkerCrashed
from ..jobs.answers import Answer, Files
from ..jobs.child import ChildDied, Message, ProtocolBroken
from ..jobs.child_factory import ChildFactory, StartFailed
from ..jobs.devices import Device, slot_devices, spare_device
from ..jobs.folders import unpacked
from ..jobs.talk import Question, about_graph, capture, hear, verification
from ..lipschitz.bundle import Member, identity, trailer
from ..lipschitz.external_data import files_beside
from ..lipschitz.folder import model_in
from ..lipschitz.formats import MAX_UNPACKED
from ..parsing import parse_fields
from ..refusals import as_problems, from_slug
from ..settings import Settings
from ..store.staging import Staged

UNDONE = {
    "capture": "The model could not be read",
    "analyze": "The analysis did not end",
    "compare": "The comparison did not end",
    "verify": "The certificate could not be checked",
}
"""What a child did not get done, by the question that it was asked."""
REFUSAL = 422


def analyze_here(
    model: Path,
    dataset: Path | None,
    request: object,
    progress: OnProgress,
    *,
    trusts: bool = False,
    baseline: Path | None = None,
) -> Answer:
    """The model's result; Problem where there is none, OSError without the file.

    `trusts`: a program runs also where this machine cannot confine it. `baseline` is the model that a gate names.
    """
    fields = parse_fields(AnalysisFields, request).canonical()
    models = [model] if baseline is None else [model, baseline]
    return _asked("analyze", models, dataset, fields=fields, progress=progress, trusts=trusts)


def compare_here(
    models: tuple[Path, Path], dataset: Path | None, request: object, progress: OnProgress, trusts: bool = False
) -> Answer:
    """The same of the comparison of two models."""
    if dataset is not None and isinstance(request, dict):
        request = request | {"dataset": hashlib.sha256(dataset.read_bytes()).hexdigest()}
    fields = parse_fields(ComparisonFields, request)
    return _asked(
        "compare",
        models,
        dataset,
        fields=fields.canonical() | {"radius": fields.radius},
        progress=progress,
        trusts=trusts,
    )


def _asked(
    kind: str, models: Sequence[Path], dataset: Path | None, *, fields: Document, progress: OnProgress, trusts: bool
) -> Answer:
    """What a bounding child answers about the models' captured graphs, each captured by a child of its own."""
    _require(*models, *([] if dataset is None else [dataset]))
    progress(Progress(phase="starting"))
    with _children(trusts, captures=len(models)) as (*capturing, bounding), ExitStack() as stack:
        subjects = [
            _captured(stack, child, model, fields["inputs"], progress)
            for child, model in zip(capturing, models, strict=True)
        ]
        files = dict(zip(("artifact", "second"), (one.artifact for one in subjects), strict=False))
        if dataset is not None:
            files["dataset"] = stack.enter_context(dataset.open("rb"))
        kept = Files()
        question = about_graph(kind, fields, subjects[0].sha256, files, kept.sinks(sys.maxsize))
        return kept.answer(bounding.answer(question, progress))


def verify_here(model: Path, certificate: Path, trusts: bool = False, limit_s: float = math.inf) -> Document:
    """What `certificate.verify` says of the certificate; OSError without the files.

    Problem where a child fails, or checks for more than `limit_s` seconds: a certificate may be made to cost years.
    """
    _require(model)
    proof, question = certificate.read_bytes(), Document(reason=None)
    files: dict[str, BinaryIO] = {"certificate": io.BytesIO(proof)}
    with _children(trusts, limit_s) as (capturing, bounding), ExitStack() as stack:
        try:
            subject = _captured(stack, capturing, model, _shapes(proof), _silent)
            files["artifact"], question["model"] = subject.artifact, subject.sha256
        except Problem as refusal:
            if refusal.status != REFUSAL or isinstance(refusal, TorchscriptRefused):
                raise
            question["reason"] = f"the model cannot be captured: {refusal.detail}"
        return bounding.answer(verification(question, files), _silent).body


def _require(*paths: Path) -> None:
    """OSError where a file is missing, before children are started: that takes seconds."""
    for path in paths:
        path.stat()


@dataclass(frozen=True)
class _Subject:
    """A model's captured graph, and the digest of its file."""

    sha256: str
    artifact: BinaryIO


@dataclass(frozen=True)
class _Watcher:
    """Hands reports of progress on; there is nothing else to tend to."""

    progress: OnProgress

    def note(self, progress: Json) -> None:
        self.progress(Progress.model_validate(progress))

    def tend(self) -> None:
        """Nothing."""


class _Child:
    """A child of its own for one question, started when this is made, and confined as the service's are."""

    def __init__(self, factory: ChildFactory, device: Device, limit_s: float) -> None:
        self._factory, self._device, self._limit_s = factory, device, limit_s
        self._child = factory.begin(device, lambda: False)

    def answer(self, question: Question, progress: OnProgress) -> Message:
        """What it says; Problem where that is a refusal, or nothing comes in time."""
        child = self._factory.finish(self._child, self._device, lambda: False).child
        question.put_to(child)
        message = hear(child, _Watcher(progress), self._limit_s)
        if message is None:
            raise TimeLimit(f"{UNDONE[question.kind]} within {self._limit_s:g} s.")
        if message.kind == "error":
            raise from_slug(**message.body)
        return message

    def kill(self) -> None:
        self._child.kill()


@contextmanager
def _children(trusts: bool, limit_s: float = math.inf, captures: int = 1) -> Iterator[list[_Child]]:
    """Capture children and, last, a bounding child, which has `limit_s` seconds; killed at the end."""
    settings = Settings(untrusted_torchscript="trust") if trusts else Settings()
    with ExitStack() as stack:
        children: list[_Child] = []
        factory = ChildFactory(settings)
        stack.callback(factory.close)
        limits = [(spare_device(), settings.default_timeout_s)] * captures + [(slot_devices(settings)[0], limit_s)]
        try:
            for device, seconds in limits:
                children.append(_Child(factory, device, seconds))
                stack.callback(children[-1].kill)
            yield children
        except (StartFailed, ChildDied, ProtocolBroken) as error:
            raise WorkerCrashed(f"The process that ran the analysis was stopped: {error}.") from error


def _captured(stack: ExitStack, child: _Child, path: Path, inputs: Any, progress: OnProgress) -> _Subject:
    """The model's captured graph; its child, which a program may have changed, is asked nothing else."""
    artifact: BinaryIO = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 (the stack closes it)
    model, sha256 = _opened(stack, path)
    progress(Progress(phase="reading"))
    child.answer(capture(model, inputs, artifact.write), progress)
    child.kill()
    return _Subject(sha256, artifact)


def _opened(stack: ExitStack, path: Path) -> tuple[BinaryIO, str]:
    """The model, out of its folder or archive, with the files of its weights that lie beside it, and what names it."""
    with as_problems():
        path = model_in(path)
        names = files_beside(path)
        return _bundled(stack, path, names) if names else _alone(stack, path)


def _alone(stack: ExitStack, path: Path) -> tuple[BinaryIO, str]:
    model = stack.enter_context(path.open("rb"))
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    caps = sys.maxsize, 0
    bundle = unpacked(model, lambda: Staged(folder / "model", caps, lambda *_: None, lambda _: None), MAX_UNPACKED)
    if bundle is None:
        model.seek(0)
        return model, hashlib.file_digest(model, "sha256").hexdigest()
    staged, _ = bundle
    stack.callback(staged.close)
    return stack.enter_context(staged.path.open("rb")), staged.sha256


def _bundled(stack: ExitStack, path: Path, names: list[str]) -> tuple[BinaryIO, str]:
    whole: BinaryIO = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 (the stack closes it)
    members = []
    for name in (path.name, *names):
        with (path.parent / name).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            members.append(Member(name, digest, file.tell()))
            file.seek(0)
            shutil.copyfileobj(file, whole)
    whole.write(trailer(path.name, members))
    return whole, identity(members)


def _silent(_progress: Progress) -> None:
    """Nobody watches."""


def _shapes(certificate: bytes) -> Any:
    """The shapes that the certificate's function was captured with; the check itself is for the child."""
    try:
        return json.loads(certificate)["function"]["inputs"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
