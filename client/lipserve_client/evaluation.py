"""What an evaluation asks of a service, and the metrics that its answers become; without MLflow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lipserve_client.client import Job
from lipserve_client.contract.comparison import ComparisonFields, ComparisonView
from lipserve_client.contract.radii import RadiiView
from lipserve_client.contract.request import AnalysisFields
from lipserve_client.contract.result import ResultView, Verdict

OWN = frozenset({"url", "key", "model", "baseline", "name", "version", "radius", "raises"})
"""Keys of the configuration that are no fields of a request; `gate` has the limits of both kinds of job."""
OF_TWO = frozenset({"max_difference", "min_kept_share"})
KNOWN = OWN | set(AnalysisFields.model_fields) - {"dataset"}
ONLY_OF_ONE = frozenset({"certify", "target", "output", "gate", "metadata"})
ORDER: tuple[Verdict, ...] = ("fail", "inconclusive", "pass")
"""Of several verdicts the first of these stands."""


@dataclass(frozen=True)
class Plan:
    """One evaluation. `baseline` is a model's URI or SHA-256, `gate` has the limits of the analysis alone, `of_two`
    those of the comparison with the baseline.
    """

    url: str
    key: str | None
    own: Mapping[str, Any]
    fields: Mapping[str, Any]
    gate: Mapping[str, Any]
    of_two: Mapping[str, Any]
    baseline: str | None

    @classmethod
    def of(cls, config: Mapping[str, Any], environment: Mapping[str, str]) -> Plan:
        """What the configuration asks for; ValueError for a key that is none: a limit misspelt must not pass."""
        if unknown := sorted(set(config) - KNOWN):
            raise ValueError(f"unknown key {unknown[0]!r}; there are {', '.join(sorted(KNOWN))}")
        url = config.get("url") or environment.get("LIPSERVE_URL")
        if not url:
            raise ValueError("no service is named: `url`, or LIPSERVE_URL")
        limits = dict(config.get("gate") or {})
        baseline = limits.pop("baseline", config.get("baseline"))
        of_two = {name: limits.pop(name) for name in OF_TWO & set(limits)}
        if (of_two or "max_increase" in limits) and not baseline:
            raise ValueError("a gate against a baseline needs `baseline`: a model's URI or SHA-256")
        fields = {name: value for name, value in config.items() if name not in OWN | {"gate"}}
        key = config.get("key") or environment.get("LIPSERVE_KEY")
        return cls(url, key, {name: config.get(name) for name in OWN}, fields, limits, of_two, baseline)

    @property
    def is_gated(self) -> bool:
        """Whether there is a limit to keep."""
        return bool(self.gate or self.of_two)

    @property
    def radius(self) -> float | None:
        """Up to which rows are to be certified."""
        radius = self.own["radius"] or self.gate.get("radius")
        return None if radius is None else float(radius)

    @property
    def needs_rows(self) -> bool:
        """Whether it is about the rows of the data, which then have to be numbers."""
        return bool(
            {"min_certified_share", "min_kept_share"} & {*self.gate, *self.of_two} or self.fields.get("certify")
        )

    def analysis(self, baseline: str | None, *, is_classifier: bool) -> dict[str, Any]:
        """The request of the analysis; `baseline` is the uploaded model. Classifiers' rows are certified."""
        gate = dict(self.gate) | ({"baseline": baseline} if "max_increase" in self.gate else {})
        plain = isinstance(self.fields.get("norm", "2"), str) and "target" not in self.fields
        asked = {"certify": True} if is_classifier and plain else {}
        return asked | dict(self.fields) | ({"gate": gate} if gate else {})

    def comparison(self) -> dict[str, Any]:
        """The request of the comparison with the baseline."""
        fields = {name: value for name, value in self.fields.items() if name not in ONLY_OF_ONE}
        assert set(fields) <= set(ComparisonFields.model_fields)
        return fields | {"radius": self.radius, "gate": dict(self.of_two)}


def metrics_of(result: ResultView, radius: float | None) -> dict[str, float]:
    """The bracket, and what is certified of the rows; what there is no number of is left out."""
    lower, upper = result.ends
    found = {"upper": upper, "lower": lower, "ratio": result.ratio}
    if isinstance(result, ComparisonView):
        found = {"difference_upper": upper, "difference_lower": lower}
        if result.decisions is not None:
            counted = result.decisions.kept, result.decisions.changed, result.decisions.open
            found["kept_share"] = counted[0] / max(1, sum(counted))
    elif result.offset is not None:
        found["offset"] = result.offset.value
    elif result.baseline is not None:
        found |= {"baseline_upper": result.baseline.upper, "baseline_lower": result.baseline.lower}
    if result.radii is not None:
        found |= _of_radii(result.radii, radius)
    return {f"lipschitz_{name}": float(value) for name, value in found.items() if value is not None}


def _of_radii(radii: RadiiView, radius: float | None) -> dict[str, float | None]:
    share = None if radius is None else certified_share(radii, radius)
    return {"certified_share": share, "mean_radius": radii.mean, "median_radius": radii.median}


def certified_share(radii: RadiiView, radius: float) -> float:
    """At least this share of the rows is rightly predicted and certified up to the radius.

    Curves are thinned: the step at or behind the radius counts, which is never too much.
    """
    if radii.asked is not None and radii.asked.radius == radius:
        return radii.asked.certified / max(1, radii.rows)
    behind = [share for at, share in radii.certified if at >= radius]
    return behind[0] if behind else radii.certified[-1][1]


def verdict_of(jobs: list[Job], plan: Plan) -> Verdict | None:
    """The worst of the jobs' verdicts; ValueError where a job has no result, or a gate no verdict."""
    for job in jobs:
        if job.result is None:
            raise ValueError(f"the job {job.id} {job.status}: {job.error.detail if job.error else 'no result'}")
    verdicts = [job.verdict for job in jobs if plan.gate or isinstance(job.result, ComparisonView)]
    if plan.is_gated and (not verdicts or None in verdicts):
        raise ValueError("the answer to the gate is no verdict")
    return min((verdict for verdict in verdicts if verdict), key=ORDER.index, default=None)
