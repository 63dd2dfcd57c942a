"""Who is next, and how many are ahead.

The highest priority first. Inside it, the tenant with the fewest running jobs of those kinds; among equals the one that
was served longest ago; of its jobs the oldest. So one tenant's thousand jobs hold up another's first by one turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, Select, Subquery, and_, exists, func, or_, select
from sqlalchemy.dialects import postgresql, sqlite

from .clock import now
from .crowds import Crowd
from .tables import jobs, turns
from .transitions import Move


@dataclass(frozen=True)
class Wanted:
    """What a slot takes: jobs of these kinds; `only_quick`: those that are expected to be over soon.

    `program_share`: at most this many of a tenant's programs at once in the slots of one supervisor.
    """

    kinds: tuple[str, ...]
    only_quick: bool = False
    program_share: int | None = None


def next_in_line(move: Move, wanted: Wanted, supervisor: str = "") -> Select[str]:
    """The job to be moved next, its row locked on PostgreSQL; rows that others are about to take are passed over."""
    running = _running(move.target, wanted.kinds)
    served = and_(turns.c.tenant == jobs.c.tenant, turns.c.kind == jobs.c.kind)
    queue = jobs.outerjoin(running, running.c.tenant == jobs.c.tenant).outerjoin(turns, served)
    query = select(jobs.c.id).select_from(queue)
    query = query.where(jobs.c.status.in_(move.sources), jobs.c.kind.in_(wanted.kinds))
    if wanted.only_quick:
        query = query.where(jobs.c.quick)
    if wanted.program_share is not None:
        query = query.where(or_(~jobs.c.program, _programs(move.target, wanted, supervisor) < wanted.program_share))
    order = (
        jobs.c.priority.desc(),
        func.coalesce(running.c.number, 0),
        func.coalesce(turns.c.served_at, 0.0),
        jobs.c.created_at,
        jobs.c.id,
    )
    return query.order_by(*order).limit(1).with_for_update(of=jobs, skip_locked=True)


def is_line(move: Move, wanted: Wanted) -> Select[bool]:
    """Whether anybody waits at all: a cheap look before the one that takes."""
    waits = jobs.c.status.in_(move.sources) & jobs.c.kind.in_(wanted.kinds)
    return select(exists().where(waits & jobs.c.quick if wanted.only_quick else waits))


def take_turn(connection: Connection, tenant: str, kind: str) -> None:
    """Note that the tenant is served now."""
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    row = insert(turns).values(tenant=tenant, kind=kind, served_at=now())
    again = {"served_at": row.excluded.served_at}
    connection.execute(row.on_conflict_do_update(index_elements=["tenant", "kind"], set_=again))


def crowds_in_line(connection: Connection, move: Move, kind: str) -> list[Crowd]:
    """Everybody who waits, tenant by tenant, the highest priority first."""
    group = (jobs.c.tenant, jobs.c.priority)
    running = _running(move.target, (kind,))
    standing = (func.coalesce(running.c.number, 0), func.coalesce(turns.c.served_at, 0.0))
    queue = jobs.outerjoin(running, running.c.tenant == jobs.c.tenant)
    queue = queue.outerjoin(turns, and_(turns.c.tenant == jobs.c.tenant, turns.c.kind == kind))
    counted = select(*group, func.count(), func.min(jobs.c.created_at), *standing).select_from(queue)
    counted = counted.where(jobs.c.status.in_(move.sources), jobs.c.kind == kind).group_by(*group, *standing)
    return [Crowd(*row) for row in connection.execute(counted.order_by(jobs.c.priority.desc()))]


def own_line(connection: Connection, move: Move, tenant: str, kind: str) -> list[str]:
    """The tenant's waiting jobs, in order."""
    waits = (jobs.c.status.in_(move.sources), jobs.c.kind == kind, jobs.c.tenant == tenant)
    order = (jobs.c.priority.desc(), jobs.c.created_at, jobs.c.id)
    return list(connection.scalars(select(jobs.c.id).where(*waits).order_by(*order)))


def _running(status: str, kinds: Sequence[str]) -> Subquery:
    counted = select(jobs.c.tenant, func.count().label("number")).where(jobs.c.status == status, jobs.c.kind.in_(kinds))
    return counted.group_by(jobs.c.tenant).subquery("running")


def _programs(status: str, wanted: Wanted, supervisor: str) -> ColumnElement[int]:
    """How many programs of the row's tenant this supervisor reads at the moment."""
    other = jobs.alias("other")
    here = (other.c.status == status, other.c.kind.in_(wanted.kinds), other.c.owner == supervisor, other.c.program)
    return select(func.count()).where(*here, other.c.tenant == jobs.c.tenant).correlate(jobs).scalar_subquery()
