"""The numerical library behind the pipe. Torch is imported here, in the child process and nowhere else."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict

import torch

from ..contract.plain import Json
from ..lipschitz.analysis import Answer, analyze
from ..lipschitz.baseline import analyze_against
from ..lipschitz.certificate.fields import InvalidCertificate
from ..lipschitz.certificate.verify import refused, verify
from ..lipschitz.comparison.compare import compare
from ..lipschitz.device import make_exact
from ..lipschitz.errors import LipschitzError
from ..lipschitz.graph import graph
from ..lipschitz.ingest import capture_artifact, inspect
from . import warmup
from .admission import admit
from .causes import forbidden_attempt, is_exhaustion
from .confinement import Achieved, Policy, after_warm_up
from .loop import Voice


class LipschitzLibrary:
    """Hands the bytes to the library, unless they are a program that may not run here."""

    def __init__(self, policy: Policy, achieved: Achieved) -> None:
        self._policy = policy
        self._achieved = achieved

    def describe(self) -> Json:
        """Warm up, so that whatever is imported late is there, then close the door; what jobs run on."""
        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))  # torch itself read it before the fork
        make_exact()
        has_gpu = torch.cuda.is_available()
        if has_gpu:
            torch.cuda.set_per_process_memory_fraction(self._policy.gpu_memory_fraction)
        warmup.run()
        self._achieved = after_warm_up(self._policy, self._achieved)
        return {
            "device": "cuda" if has_gpu else "cpu",
            "torch": torch.__version__,
            "confinement": self._achieved.level,
            "details": self._achieved.details(),
        }

    def answer(self, kind: str, request: Json, files: Mapping[str, bytes], voice: Voice) -> None:
        """What a capture child is asked about a model's file, or a bounding child about a captured graph."""
        with _named_failures():
            if "model" in files:
                admit(files["model"], self._policy, self._achieved)
            _ANSWERS[kind](request, files, voice)


def _inspect(request: Json, files: Mapping[str, bytes], voice: Voice) -> None:
    voice.tell("inspection", asdict(inspect(files["model"])))
    if request["capture"]:
        _capture({"inputs": None}, files, voice)


def _capture(request: Json, files: Mapping[str, bytes], voice: Voice) -> None:
    voice.tell("artifact", {}, artifact=capture_artifact(files["model"], request["inputs"]))


def _graph(_request: Json, files: Mapping[str, bytes], voice: Voice) -> None:
    voice.tell("graph", graph(files["artifact"]).model_dump(mode="json"))


def _analyze(request: Json, files: Mapping[str, bytes], voice: Voice) -> None:
    asked, sha256 = (request["request"], voice.report, files.get("dataset")), request["model"]
    if "second" in files:
        analysis = analyze_against(files["artifact"], files["second"], *asked, model_sha256=sha256)
    else:
        analysis = analyze(files["artifact"], *asked, sha256)
    voice.tell("result", analysis.result.model_dump(mode="json", exclude_unset=True), **_files(analysis))


def _compare(request: Json, files: Mapping[str, bytes], voice: Voice) -> None:
    comparison = compare(files["artifact"], files["second"], request["request"], voice.report, files.get("dataset"))
    voice.tell("comparison", comparison.result.model_dump(mode="json", exclude_unset=True), **_files(comparison))


def _verify(request: Json, files: Mapping[str, bytes], voice: Voice) -> None:
    certificate, reason = files["certificate"], request["reason"]
    try:
        answer = refused(certificate, reason) if reason else verify(files["artifact"], certificate, request["model"])
    except InvalidCertificate:  # which is the first that `verify` tells
        answer = verify(b"", certificate, "")
    voice.tell("verdict", answer)


_ANSWERS: dict[str, Callable[[Json, Mapping[str, bytes], Voice], None]] = {
    "inspect": _inspect,
    "capture": _capture,
    "graph": _graph,
    "analyze": _analyze,
    "compare": _compare,
    "verify": _verify,
}


def _files(answer: Answer) -> dict[str, bytes]:
    """What goes beside the result."""
    files = {} if answer.witness is None else {"witness": answer.witness}
    if answer.radii is not None:
        files["radii"] = answer.radii
    if answer.certificate is None:
        return files
    return files | {"certificate": json.dumps(answer.certificate.fields(), allow_nan=False).encode()}


@contextmanager
def _named_failures() -> Iterator[None]:
    """Failed allocations become MemoryError, whoever met them; a refusal says what confinement did not allow."""
    try:
        yield
    except Exception as error:
        if is_exhaustion(error):
            raise MemoryError(str(error)) from error
        attempt = forbidden_attempt(error)
        if isinstance(error, LipschitzError) and attempt not in error.detail:
            error.detail = f"{error.detail} The model tried what it may not: {attempt}"
        raise
