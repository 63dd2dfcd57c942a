"""The library on model files, in one process: capture, then ask. For files that you trust.

The service does the two in two processes, as a model's file may be a program.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping
from typing import Any

from ..contract.plain import Json
from . import analysis, bundle
from . import graph as captured_graph
from .artifact.captured import InputShapes
from .certificate import verify as certificates
from .certificate.fields import InvalidCertificate
from .certificate.reading import read
from .errors import LipschitzError
from .ingest import capture_artifact
from .problem import Progress
from .request import Request


def analyze(
    model: bytes, fields: Mapping[str, Any], progress: Progress = lambda _: None, dataset: bytes | None = None
) -> Json:
    """`analysis.analyze` of a model's file as JSON, within what reading leaves of the budget: `result`, `certificate`,
    and `witness` and `radii` in base64. Raises the refusals of both.
    """
    begun, request = time.monotonic(), Request.parse(fields)
    progress({"phase": "reading"})
    artifact = capture_artifact(model, request.inputs)
    left = max(request.budget_s - (time.monotonic() - begun), 0.0)
    answer = analysis.analyze(artifact, {**fields, "budget_s": left}, progress, dataset, bundle.digest(model))
    return {
        "result": answer.result.model_dump(mode="json", exclude_unset=True),
        "witness": None if answer.witness is None else base64.b64encode(answer.witness).decode(),
        "radii": None if answer.radii is None else base64.b64encode(answer.radii).decode(),
        "certificate": None if answer.certificate is None else answer.certificate.fields(),
    }


def graph(model: bytes, shapes: InputShapes | None = None) -> Json:
    """`graph.graph` of a model's file as JSON, with `shapes` for what it leaves open."""
    return captured_graph.graph(capture_artifact(model, shapes)).model_dump(mode="json")


def verify(model: bytes, certificate: bytes) -> Json:
    """`certificate.verify.verify` of a model's file, which is captured only for a certificate that is about it."""
    sha256, artifact = "", b""
    try:
        stated, sha256 = read(certificate), bundle.digest(model)
        if stated.sha256 == sha256:
            artifact = capture_artifact(model, stated.function.get("inputs"))
    except InvalidCertificate:
        pass  # which `verify` reports
    except LipschitzError as error:
        return certificates.refused(certificate, f"the model cannot be captured: {error.detail}")
    except Exception as error:
        return certificates.refused(certificate, f"the model cannot be captured: {certificates.cause(error)}")
    return certificates.verify(artifact, certificate, sha256)
