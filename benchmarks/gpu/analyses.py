"""Whole analyses by the library's front door, which computes on the GPU where the process sees one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from app.lipschitz.analysis import Answer, analyze
from app.lipschitz.certificate.verify import verify
from app.lipschitz.ingest import capture_artifact
from benchmarks.gpu.measure import Place, Row
from benchmarks.gpu.networks import chain, convolutional, resnet

WITHIN = 1e-9
"""Relative: proofs of one bound on two devices, which sum in other orders."""
SOLVED = 1e-6
"""Optima that are approached until a gap is closed."""
BOX = {"kind": "box", "lower": -0.3, "upper": 0.4}


def resnet50(place: Place) -> Iterator[Row]:
    """AutoLip of ResNet-50; the goal is 2 s."""
    model = place.pick(((1, 1), 4, 32), ((3, 4, 6, 3), 64, 224))
    yield from _timed(place, f"AutoLip, ResNet {model}", _artifact(place, "resnet", lambda: resnet(*model)), "autolip")


def lipsdp(place: Place) -> Iterator[Row]:
    """LipSDP of 1,000 neurons, dense."""
    sizes = place.pick([10, 20, 20, 5], [100, 500, 500, 10])
    artifact = _artifact(place, "dense", lambda: chain(sizes))
    yield from _timed(place, f"LipSDP, {sizes}", artifact, "lipsdp", within=SOLVED, budget_s=50.0)


def ascent(place: Place) -> Iterator[Row]:
    """Attained values: the better, the larger; each search on its own device's random numbers."""
    sizes = place.pick([20, 30, 30, 5], [784, 1000, 1000, 10])
    artifact = _artifact(place, "ascent", lambda: chain(sizes))
    yield from _timed(place, f"gradient, {sizes}", artifact, "gradient", within=None, budget_s=place.pick(2.0, 10.0))


CERTIFIED = {
    "autolip": (lambda: chain([30, 40, 20, 5]), {}),
    "lipsdp": (lambda: chain([20, 30, 30, 5]), {}),
    "seqlip": (lambda: chain([12, 10, 10, 4], "Tanh"), {}),
    "exact": (lambda: chain([3, 8, 8, 2]), {"domain": BOX}),
    "lipsdp on a box": (lambda: chain([20, 30, 30, 5], "Sigmoid"), {"domain": BOX}),
    "autolip of convolutions": (lambda: convolutional(4, 12), {}),
    "lipsdp of convolutions": (lambda: convolutional(3, 9), {}),
}
"""Name, which begins with the method, -> model and what is asked beside."""


def certificates(place: Place) -> Iterator[Row]:
    """A certificate of each kind, kept for `check` where it was made on the device."""
    for name, (make, fields) in CERTIFIED.items():
        artifact, method = capture_artifact(make(), None), name.split()[0]
        answer = analyze(artifact, {"methods": [method], "budget_s": 20.0} | fields, model_sha256=_name(artifact))
        stem = f"{place.device} {name}".replace(" ", "_")
        (place.folder / f"{stem}.artifact").write_bytes(artifact)
        (place.folder / f"{stem}.certificate").write_text(as_json(answer))
        yield _row(place, f"certified: {name}", method, answer, SOLVED if method == "lipsdp" else WITHIN)


def check(place: Place) -> Iterator[Row]:
    """Every certificate that lies there, checked on the CPU."""
    for path in sorted(place.folder.glob("*.certificate")):
        artifact = path.with_suffix(".artifact").read_bytes()
        verdict = verify(artifact, path.read_bytes(), _name(artifact))
        told = "; ".join(verdict["reasons"]) or f"{verdict['check']}, bound {verdict['bound']:.12g}"
        yield {"case": f"checked: {path.stem.replace('_', ' ')}", "ok": verdict["valid"], "note": told}


def _timed(
    place: Place, case: str, artifact: bytes, method: str, within: float | None = WITHIN, **fields: Any
) -> Iterator[Row]:
    """Twice: the first one makes contexts and loads kernels."""
    request = {"methods": [method], "budget_s": 60.0} | fields
    for name in (f"{case}, first", case):
        yield _row(place, name, method, analyze(artifact, request), within)


def as_json(answer: Answer) -> str:
    """The certificate as the service hands it out; `null` where there is none."""
    return json.dumps(None if answer.certificate is None else answer.certificate.fields())


def _row(place: Place, case: str, method: str, answer: Answer, within: float | None) -> Row:
    result = answer.result
    (estimate,) = (each for each in result.estimates if each.method == method)
    is_here = str(result.engine.device).startswith(place.device)
    return {
        "case": case,
        "device": place.device,
        "seconds": estimate.seconds,
        "value": estimate.value,
        "ok": is_here and estimate.value is not None,
    } | ({} if within is None else {"within": within})


def _artifact(place: Place, name: str, make: Any) -> bytes:
    """The captured graph, which the other device's process may have left."""
    path = place.folder / f"{name}.graph"
    if not path.exists():
        path.write_bytes(capture_artifact(make(), None))
    return path.read_bytes()


def _name(artifact: bytes) -> str:
    """A model's digest in these certificates, whose models are not kept."""
    return hashlib.sha256(artifact).hexdigest()
