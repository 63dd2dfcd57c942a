"""All SQL on the versions of models and their numbers, which stay when jobs, results and files go."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Join,
    RowMapping,
    Select,
    and_,
    delete,
    exists,
    func,
    insert,
    select,
    tuple_,
)

from ..contract.plain import Json
from ..contract.series import asked_of, numbers_of, question_id
from .clock import now
from .database import Database, lock
from .series_tables import answers, versions
from .tables import jobs, results

ANALYZE = "analyze"
"""The kind of jobs with numbers."""
MOST_VERSIONS = 1000
MOST_QUESTIONS = 100
MOST_JOBS = 100
"""Earlier jobs on a model that are looked at when it gets a version."""


def remember(connection: Connection, job: RowMapping, result: Json) -> None:
    """Keep the numbers of a job that has succeeded, if its model is a version of something; the newest answer stays.

    Where rounding counts as noise they are not the model's own constant, and not kept.
    """
    request = job["request"]
    if job["kind"] != ANALYZE or "b" in request or request.get("rounding") == "noise":
        return
    lock(connection, job["model"])
    own = (versions.c.tenant == job["tenant"], versions.c.model == job["model"])
    if connection.scalar(select(exists().where(*own))):
        asked = asked_of(request)
        key = {"tenant": job["tenant"], "model": job["model"], "question": question_id(asked)}
        connection.execute(delete(answers).where(*(answers.c[name] == value for name, value in key.items())))
        values = key | {"asked": asked, "job": job["id"], "at": job["finished_at"], **numbers_of(result)}
        connection.execute(insert(answers).values(values))


class SeriesRepository:
    """One method a query."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, tenant: str, name: str, version: str, model: str) -> bool:
        """Name the model a version, and remember what is known of it; False where the version is another model."""
        with self._database.write() as connection:
            lock(connection, f"series {tenant} {name}")
            lock(connection, model)  # a job that ends meanwhile sees the version, or is seen here
            own = _series(tenant, name) & (versions.c.version == version)
            known = connection.scalar(select(versions.c.model).where(own))
            if known is not None:
                return bool(known == model)
            values = {"tenant": tenant, "name": name, "version": version, "model": model}
            connection.execute(insert(versions).values(values | {"created_at": now()}))
            for job in connection.execute(_answered(tenant, model)).mappings().all()[::-1]:
                remember(connection, job, job["result"])
        return True

    def page(self, tenant: str, limit: int, after: tuple[float, str] | None) -> list[dict[str, Any]]:
        """The newest version of each series and the newest answer about it, newest versions first."""
        with self._database.read() as connection:
            rows = [dict(row) for row in connection.execute(_newest(tenant, limit, after)).mappings()]
            own = (answers.c.tenant == tenant, answers.c.model.in_([row["model"] for row in rows]))
            last = connection.execute(select(answers).where(*own).order_by(answers.c.at)).mappings()
            known = {row["model"]: {name: row[name] for name in ("question", "upper", "lower")} for row in last}
        return [{"question": None, "upper": None, "lower": None, **row, **known.get(row["model"], {})} for row in rows]

    def versions(self, tenant: str, name: str) -> list[RowMapping]:
        """The newest versions, oldest first."""
        newest = select(versions).where(_series(tenant, name))
        newest = newest.order_by(versions.c.created_at.desc(), versions.c.version.desc()).limit(MOST_VERSIONS)
        with self._database.read() as connection:
            return list(connection.execute(newest).mappings())[::-1]

    def questions(self, tenant: str, name: str) -> list[tuple[str, Json, int]]:
        """Questions with an answer: id, what was asked, and how many versions have one; most first, then the newest."""
        count, newest = func.count().label("versions"), func.max(answers.c.at)
        query = select(answers.c.question, count, func.min(answers.c.job).label("job")).select_from(_of(tenant, name))
        query = query.group_by(answers.c.question).order_by(count.desc(), newest.desc()).limit(MOST_QUESTIONS)
        with self._database.read() as connection:
            counted = connection.execute(query).mappings().all()
            one_each = select(answers.c.question, answers.c.asked).where(
                answers.c.tenant == tenant, answers.c.job.in_([row["job"] for row in counted])
            )
            asked = {row.question: row.asked for row in connection.execute(one_each)}
        return [(row["question"], asked[row["question"]], row["versions"]) for row in counted]

    def answers(self, tenant: str, name: str, question: str) -> dict[str, RowMapping]:
        """The answers to the question by version; `kept_job` is null where the job is no longer there."""
        kept = and_(jobs.c.id == answers.c.job, ~jobs.c.expired)
        query = select(versions.c.version, answers, jobs.c.id.label("kept_job"))
        query = query.select_from(_of(tenant, name).outerjoin(jobs, kept)).where(answers.c.question == question)
        with self._database.read() as connection:
            return {row["version"]: row for row in connection.execute(query).mappings()}

    def forget(self, tenant: str, name: str) -> bool:
        """Delete the series, and the numbers of models that are versions of nothing else; False where there is none."""
        with self._database.write() as connection:
            gone = connection.execute(delete(versions).where(_series(tenant, name))).rowcount
            named = exists().where(versions.c.tenant == answers.c.tenant, versions.c.model == answers.c.model)
            connection.execute(delete(answers).where(answers.c.tenant == tenant, ~named))
        return bool(gone)


def _series(tenant: str, name: str) -> ColumnElement[bool]:
    return and_(versions.c.tenant == tenant, versions.c.name == name)


def _newest(tenant: str, limit: int, after: tuple[float, str] | None) -> Select[Any]:
    """The newest version of each series, as its page lists them, with how many there are."""
    order = (versions.c.created_at.desc(), versions.c.version.desc())
    place = func.row_number().over(partition_by=versions.c.name, order_by=order).label("place")
    count = func.count().over(partition_by=versions.c.name).label("versions")
    ranked = select(versions, place, count).where(versions.c.tenant == tenant).subquery()
    query = select(ranked).where(ranked.c.place == 1)
    if after is not None:
        query = query.where(tuple_(ranked.c.created_at, ranked.c.name) < after)
    return query.order_by(ranked.c.created_at.desc(), ranked.c.name.desc()).limit(limit)


def _of(tenant: str, name: str) -> Join:
    """The versions of the series, each with its answers."""
    same = and_(versions.c.tenant == answers.c.tenant, versions.c.model == answers.c.model)
    return versions.join(answers, and_(same, _series(tenant, name)))


def _answered(tenant: str, model: str) -> Select[Any]:
    """The newest jobs on the model that have a result, with it."""
    query = select(jobs, results.c.result).join(results, results.c.job == jobs.c.id)
    query = query.where(jobs.c.tenant == tenant, jobs.c.model == model, jobs.c.kind == ANALYZE)
    return query.order_by(jobs.c.finished_at.desc()).limit(MOST_JOBS)
