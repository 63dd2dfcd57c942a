"""What can be done with the versions of a model: name one, look at all of them, forget them."""

from __future__ import annotations

from sqlalchemy import RowMapping

from ..contract.job import time_of
from ..contract.plain import Json
from ..contract.series import ModelVersion, SeriesQuestion, SeriesSummary, SeriesView, VersionView
from ..errors import UnknownSeries, VersionTaken
from ..store.series import SeriesRepository

NO_ANSWER: Json = {"job": None, "answered_at": None, "upper": None, "lower": None, "layers": [], "radii": None}


class SeriesService:
    """Decides; the repository queries."""

    def __init__(self, repository: SeriesRepository) -> None:
        self._repository = repository

    def name(self, tenant: str, named: ModelVersion, model: str) -> None:
        """Make the model that version; VersionTaken where it is another one: what was released does not change."""
        if not self._repository.add(tenant, named.name, named.version, model):
            raise VersionTaken(f"Version {named.version!r} of {named.name!r} is another model already.")

    def page(self, tenant: str, limit: int, after: tuple[float, str] | None) -> list[tuple[float, SeriesSummary]]:
        """Every series in short, those with the newest versions first, each with the time of that version."""
        rows = self._repository.page(tenant, limit, after)
        times = [row["created_at"] for row in rows]
        told = [SeriesSummary.model_validate(row | {"created_at": time_of(row["created_at"])}) for row in rows]
        return list(zip(times, told, strict=True))

    def view(self, tenant: str, name: str, question: str | None = None) -> SeriesView:
        """The series, with the answers to `question`, or to the one that most versions answer.

        UnknownSeries where no version has the name.
        """
        versions = self._repository.versions(tenant, name)
        if not versions:
            raise UnknownSeries(f"No model has a version under the name {name!r}.")
        asked = self._repository.questions(tenant, name)
        chosen = question or (asked[0][0] if asked else None)
        answers = self._repository.answers(tenant, name, chosen) if chosen else {}
        return SeriesView(
            name=name,
            question=chosen,
            questions=[SeriesQuestion(id=key, asked=request, versions=count) for key, request, count in asked],
            versions=[_version(row, answers.get(row["version"])) for row in versions],
        )

    def forget(self, tenant: str, name: str) -> None:
        """Forget the versions and their numbers; models and jobs stay. UnknownSeries where there is none."""
        if not self._repository.forget(tenant, name):
            raise UnknownSeries(f"No model has a version under the name {name!r}.")


def _version(row: RowMapping, answer: RowMapping | None) -> VersionView:
    told = _named(row, "version", "model") | {"created_at": time_of(row["created_at"])} | NO_ANSWER
    if answer is not None:
        told |= _named(answer, "upper", "lower", "layers", "radii")
        told |= {"job": answer["kept_job"], "answered_at": time_of(answer["at"])}
    return VersionView.model_validate(told)


def _named(row: RowMapping, *names: str) -> dict[str, object]:
    return {name: row[name] for name in names}
