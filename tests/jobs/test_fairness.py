"""Who is next among several owners, on both databases: shares of slots, turns, and how many are ahead."""

from __future__ import annotations

import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import RowMapping

from app.jobs.record import READINGS, JobRecord, Kind
from app.jobs.states import CLAIM, REQUEUE, SUCCEED
from app.store.database import Database
from app.store.job_queries import Filter
from app.store.jobs import JobRepository
from app.store.line import Wanted
from tests.jobs.rows import ANALYSES, queued


@pytest.fixture
def repository(database: Database) -> JobRepository:
    return JobRepository(database)


def take(repository: JobRepository, wanted: Wanted = ANALYSES, supervisor: str = "me") -> RowMapping | None:
    return repository.claim(CLAIM, wanted, supervisor, 30)


def end(repository: JobRepository, row: RowMapping | None) -> None:
    assert row is not None
    assert repository.finish(JobRecord.of(row).fence, SUCCEED, result={}) is not None


def served(repository: JobRepository, number: int) -> str:
    """The owners whose jobs one slot runs, one after the other."""
    owners = []
    for _ in range(number):
        row = take(repository)
        end(repository, row)
        owners.append(row["tenant"] if row is not None else "-")
    return "".join(owners)


def test_owners_take_turns_on_one_slot(repository: JobRepository) -> None:
    for owner in "aaaabbc":
        queued(repository, tenant=owner)
    assert served(repository, 7) == "abcabaa"


def test_who_deletes_and_sends_again_does_not_get_ahead(repository: JobRepository) -> None:
    queued(repository, tenant="a")
    assert served(repository, 1) == "a"
    for _ in range(3):
        queued(repository, tenant="b")
    queued(repository, tenant="a")
    assert served(repository, 1) == "b"
    for row in repository.page("a", Kind.ANALYZE, Filter(), 10, None):
        repository.remove(row["id"], ("succeeded",))
    assert served(repository, 3) == "abb"


def test_the_fewest_running_goes_first_however_short_its_jobs_are(repository: JobRepository) -> None:
    """Two slots: the owner of long jobs keeps one of them, and the other's short jobs run on the other."""
    for owner in "aaabbb":
        queued(repository, tenant=owner)
    long = take(repository)
    assert long is not None
    assert long["tenant"] == "a"
    assert served(repository, 3) == "bbb"
    assert served(repository, 1) == "a"


def test_a_higher_priority_is_still_first(repository: JobRepository) -> None:
    for owner, priority in (("a", 5), ("a", 9), ("b", 5), ("a", 7)):
        queued(repository, tenant=owner, priority=priority)
    assert served(repository, 4) == "aaba"


def test_turns_outlive_the_processes(repository: JobRepository, database: Database) -> None:
    for owner in "aabb":
        queued(repository, tenant=owner)
    assert served(repository, 1) == "a"
    assert served(JobRepository(database), 3) == "bab"


def test_shares_hold_with_many_slots_at_once(repository: JobRepository) -> None:
    """Nobody gets nothing while others have several, also where slots look at the same moment."""
    for owner in "a" * 40 + "bcd":
        queued(repository, tenant=owner)
    with ThreadPoolExecutor(8) as pool:
        first = list(pool.map(lambda _: take(repository), range(4)))
        second = list(pool.map(lambda _: take(repository), range(4)))
    got = Counter(row["tenant"] for row in [*first, *second] if row is not None)
    assert sum(got.values()) == 8
    assert set(got) == set("abcd")


def test_a_quick_slot_takes_quick_jobs_only(repository: JobRepository) -> None:
    queued(repository, tenant="a")
    quick = queued(repository, tenant="b", quick=True)
    only = Wanted((Kind.ANALYZE,), only_quick=True)
    row = take(repository, only)
    assert row is not None
    assert row["id"] == quick
    assert take(repository, only) is None
    fence = JobRecord.of(row).fence
    again = repository.release(fence, REQUEUE, losses=0, quick=False)
    assert again is not None
    assert (again["attempt"], again["losses"], again["quick"]) == (1, 0, False)
    assert take(repository, only) is None
    assert take(repository) is not None


def test_an_owners_programs_hold_one_place_of_a_host(repository: JobRepository) -> None:
    wanted = Wanted(READINGS, program_share=1)
    first, second = (queued(repository, kind=Kind.INSPECT, tenant="a", program=True) for _ in range(2))
    other = queued(repository, kind=Kind.INSPECT, tenant="b", program=True)
    data = queued(repository, kind=Kind.INSPECT, tenant="a")
    taken = [take(repository, wanted) for _ in range(4)]
    assert [row and row["id"] for row in taken] == [first, other, data, None]
    elsewhere = take(repository, wanted, supervisor="another host")
    assert elsewhere is not None
    assert elsewhere["id"] == second


def test_ahead_is_the_order_in_which_slots_take(repository: JobRepository) -> None:
    chance = random.Random(1)
    for owner in "abcde":
        queued(repository, tenant=owner)
    served(repository, 4)
    for _ in range(40):
        queued(repository, tenant=chance.choice("abcdefg"), priority=chance.choice([3, 5, 5, 5, 9]))
    running = [take(repository) for _ in range(6)]
    assert None not in running
    pages = {owner: repository.page(owner, Kind.ANALYZE, Filter(), 99, None) for owner in "abcdefg"}
    jobs = {row["id"]: owner for owner, page in pages.items() for row in page}
    told = {job: repository.ahead(CLAIM, owner, Kind.ANALYZE, [job]).get(job) for job, owner in jobs.items()}
    place = 0
    while row := take(repository):
        assert told.pop(row["id"]) == place
        place += 1
    assert place == 35
    assert set(told.values()) == {None}


def test_brackets_are_results_in_short(repository: JobRepository) -> None:
    found = {"upper": {"value": 2.5, "method": "m"}, "lower": None, "verdict": "pass", "layers": [1, 2]}
    ids = []
    for result in (found, {"offset": {"value": 0.5}}):
        queued(repository)
        row = take(repository)
        assert row is not None
        repository.finish(JobRecord.of(row).fence, SUCCEED, result=result)
        ids.append(row["id"])
    assert repository.brackets([]) == {}
    assert repository.brackets([*ids, "no such job"]) == {
        ids[0]: {"upper": {"value": 2.5}, "lower": {"value": None}, "offset": {"value": None}, "verdict": "pass"},
        ids[1]: {"upper": {"value": None}, "lower": {"value": None}, "offset": {"value": 0.5}, "verdict": None},
    }
