"""The part of the slow tests that CI runs: another one with every commit, and every test and file has its turn."""

from itertools import groupby

from tests.time_box import chosen

NAMES = [f"tests/test_{file}.py::test_{number}" for file in range(12) for number in range(30)]


def file_of(name: str) -> str:
    return name.partition("::")[0]


def test_every_test_has_its_turn_and_every_file_comes_first() -> None:
    parts = [chosen(NAMES, 4, str(turn)) for turn in range(100)]
    assert all(60 < len(part) < 130 for part in parts)
    assert set().union(*parts) == set(NAMES)
    assert {file_of(part[0]) for part in parts} == {file_of(name) for name in NAMES}


def test_a_files_tests_stay_together_in_their_order() -> None:
    part = chosen(NAMES, 4, "some commit")
    assert len(list(groupby(part, file_of))) == len({file_of(name) for name in part})
    for _, names in groupby(part, file_of):
        numbers = [NAMES.index(name) for name in names]
        assert numbers == sorted(numbers)


def test_a_commit_has_the_same_part_again() -> None:
    assert chosen(NAMES, 4, "a") == chosen(NAMES, 4, "a") != chosen(NAMES, 4, "b")
