"""Versions of models: named at upload, looked at as a series."""

from __future__ import annotations

from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Depends, Path, Query

from ..contract.series import ModelVersion, SeriesName, SeriesPage, SeriesView
from ..errors import UnknownSeries
from ..parsing import parse_fields
from ..refusals import InvalidRequest
from ..services import Services
from .callers import Caller, InCaller, allowed
from .dependencies import InServices
from .documents import answers
from .paging import InPages

router = APIRouter(prefix="/v1/series", tags=["Series"], dependencies=[Depends(allowed)])

Name = Annotated[SeriesName, Path(description="The series' name; it may hold slashes.")]
Question = Annotated[
    str | None, Query(max_length=16, description="Whose answers to show; null: the question that most versions answer.")
]


def version_of(
    name: Annotated[str | None, Query(description="Name of a raw body; with `version`, of the series.")] = None,
    version: Annotated[str | None, Query(description="Which version of `name` the model is, for `/v1/series`.")] = None,
) -> ModelVersion | None:
    """The version that a request makes the model; InvalidRequest for one that is none."""
    if version is None:
        return None
    return parse_fields(ModelVersion, {"version": version} | ({} if name is None else {"name": name}))


AsVersion = Annotated[ModelVersion | None, Depends(version_of)]


async def name_version(services: Services, caller: Caller, named: ModelVersion | None, model: str) -> None:
    """Make the model that version, if it is to be one; VersionTaken."""
    if named is not None:
        await to_thread.run_sync(services.series.name, caller.tenant, named, model)


@router.get("", responses=answers(InvalidRequest))
def list_series(services: InServices, caller: InCaller, page: InPages) -> SeriesPage:
    """Series in short, those with the newest versions first: newest version, and the last bracket of it."""
    series = services.series.page(caller.tenant, page.limit, page.after)
    shown, token = page.cut(series, lambda one: (one[0], one[1].name))
    return SeriesPage(series=[summary for _, summary in shown], next_page_token=token)


@router.get("/{name:path}", responses=answers(UnknownSeries, InvalidRequest))
def get_series(name: Name, services: InServices, caller: InCaller, question: Question = None) -> SeriesView:
    """Every version of a model, oldest first: bracket, norms by layer and radii, which stay when jobs and files go."""
    return services.series.view(caller.tenant, name, question)


@router.delete("/{name:path}", status_code=204, responses=answers(UnknownSeries, InvalidRequest))
def forget_series(name: Name, services: InServices, caller: InCaller) -> None:
    """Forget the versions and their numbers. Models and jobs stay."""
    services.series.forget(caller.tenant, name)
