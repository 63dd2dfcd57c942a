"""What is told of the radii: rows, their summary, and a file of all of them."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...contract.radii import AskedView, ClassView, Curve, RadiiView, SampleView, WorstView
from ..problem import Problem
from .attack import Fallen
from .certificates import Certificates
from .radii import WAYS, Radii, Samples

MOST_RECORDS = 1_000
"""Rows that the result itself lists."""
MOST_POINTS = 200
"""Of a curve."""
WORST = 12
SMALL = 4_096
"""Entries of an input that is told in the result."""
MOST_BYTES = 32 * 2**20
"""Of the adversarial inputs in the file."""


def records(certificates: Certificates) -> list[SampleView]:
    """The first rows; a radius says nothing of whether the prediction is right."""
    if certificates.samples is None:
        return []
    return [
        SampleView(**_sample(certificates, place))
        for place in range(min(MOST_RECORDS, len(certificates.samples.index)))
    ]


def summary(certificates: Certificates, problem: Problem, asked: float | None = None) -> RadiiView | None:
    """All rows together, with counts at the radius that is asked for; None where there are no radii."""
    if certificates.samples is None or certificates.radii is None or certificates.fallen is None:
        return None
    radius, right = certificates.radii.radius, certificates.right
    own = torch.where(right, radius, 0.0)
    inputs = problem.captured.inputs
    return RadiiView(
        rows=certificates.rows,
        evaluated=len(radius),
        right=int(right.sum()),
        mean=_mean(own),
        median=_finite(float(radius[right].median())) if bool(right.any()) else 0.0,
        certified=curve(radius[right], certificates.rows),
        ceiling=curve(certificates.fallen.distance[right], certificates.rows),
        asked=None if asked is None else _asked(certificates, asked),
        methods={way: int((certificates.radii.way == place).sum()) for place, way in enumerate(WAYS)},
        classes=_classes(certificates, own),
        worst=_worst(certificates),
        shape=list(inputs[0].shape) if len(inputs) == 1 else [],
    )


def table(certificates: Certificates) -> bytes | None:
    """An npz file of all rows: `index`, `label`, `prediction`, `radius`, `against`, `method`, `attacked` (the distance
    of the nearest change of prediction), `attacked_prediction`; and of those that change nearest, `adversarial` inputs,
    the rows `adversarial_index`. None where there are no radii.
    """
    if certificates.samples is None or certificates.radii is None or certificates.fallen is None:
        return None
    samples, radii, fallen = certificates.samples, certificates.radii, certificates.fallen
    label = torch.full_like(samples.predicted, -1) if certificates.labels is None else certificates.labels
    chosen = _nearest(fallen)
    arrays: dict[str, Any] = {
        "index": np.array(samples.index, dtype=np.int64),
        "label": label.cpu().numpy(),
        "prediction": samples.predicted.cpu().numpy(),
        "radius": radii.radius.cpu().numpy(),
        "against": radii.against.cpu().numpy(),
        "method": np.array(WAYS)[radii.way.cpu().numpy()],
        "attacked": fallen.distance.cpu().numpy(),
        "attacked_prediction": fallen.prediction.cpu().numpy(),
        "adversarial_index": np.array([samples.index[place] for place in chosen.tolist()], dtype=np.int64),
        "adversarial": fallen.points[chosen].cpu().numpy(),
    }
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def curve(radii: Tensor, rows: int) -> Curve:
    """Steps `(radius, share of `rows` beyond it)`, downwards, thinned; what is infinite never leaves."""
    finite = radii[torch.isfinite(radii)].sort().values
    steps = [(0.0, len(radii) / max(1, rows))]
    places = torch.linspace(0, len(finite) - 1, min(MOST_POINTS, len(finite))).round().to(torch.int64).unique()
    return steps + [(float(finite[at]), (len(radii) - at - 1) / rows) for at in places.tolist()]


def _sample(certificates: Certificates, place: int) -> dict[str, Any]:
    samples, radii, fallen = _parts(certificates)
    radius, against = float(radii.radius[place]), int(radii.against[place])
    return {
        "index": samples.index[place],
        "label": None if certificates.labels is None else int(certificates.labels[place]),
        "prediction": int(samples.predicted[place]),
        "radius": _finite(radius),
        "reason": None if math.isfinite(radius) else "no perturbation changes the prediction",
        "against": against,
        "method": WAYS[int(radii.way[place])],
        "attacked": _finite(float(fallen.distance[place])),
    }


def _asked(certificates: Certificates, radius: float) -> AskedView:
    _, radii, fallen = _parts(certificates)
    right = certificates.right
    return AskedView(
        radius=radius,
        certified=int((right & (radii.radius >= radius)).sum()),
        fallen=int((right & (fallen.distance <= radius)).sum()),
    )


def _parts(certificates: Certificates) -> tuple[Samples, Radii, Fallen]:
    assert certificates.samples is not None
    assert certificates.radii is not None
    assert certificates.fallen is not None
    return certificates.samples, certificates.radii, certificates.fallen


def _classes(certificates: Certificates, own: Tensor) -> list[ClassView]:
    samples, _, _ = _parts(certificates)
    classes = samples.predicted if certificates.labels is None else certificates.labels
    return [
        ClassView(
            label=label,
            rows=int((classes == label).sum()),
            right=int(certificates.right[classes == label].sum()),
            mean=_mean(own[classes == label]),
        )
        for label in classes.unique().tolist()
    ]


def _worst(certificates: Certificates) -> list[WorstView]:
    samples, radii, fallen = _parts(certificates)
    rows = certificates.right.nonzero()[:, 0]
    rows = rows[torch.minimum(radii.radius, fallen.distance)[rows].argsort(stable=True)][:WORST]
    is_small = samples.points.shape[1] <= SMALL
    return [
        WorstView(
            **_sample(certificates, place),
            prediction_there=int(fallen.prediction[place]) if fallen.prediction[place] >= 0 else None,
            input=samples.points[place].tolist() if is_small else None,
            adversarial=fallen.points[place].tolist() if is_small and fallen.prediction[place] >= 0 else None,
        )
        for place in rows.tolist()
    ]


def _nearest(fallen: Fallen) -> Tensor:
    """The rows whose change of prediction is nearest, as many as the file has room for."""
    order = fallen.distance.argsort(stable=True)
    order = order[torch.isfinite(fallen.distance[order])]
    return order[: MOST_BYTES // (8 * max(1, fallen.points.shape[1]))]


def _mean(own: Tensor) -> float | None:
    return _finite(float(own.mean())) if len(own) else None


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
