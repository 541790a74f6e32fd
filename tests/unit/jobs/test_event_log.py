"""Reading a growing event file little by little: torn lines, and a file that becomes another one."""

import json

import pytest

from fer_core.jobs.event_log import EventLog


@pytest.fixture
def file(tmp_path):
    return tmp_path / "events.jsonl"


def write(file, *numbers, mode="a"):
    with file.open(mode) as lines:
        lines.writelines(json.dumps({"n": n, "padding": "." * 50}) + "\n" for n in numbers)


def numbers(news):
    return [event["n"] for event in news.events]


def test_every_event_is_told_once(file):
    log = EventLog(file)
    assert log.look() == ([], False)  # no file yet
    write(file, *range(200))  # longer than the tail that is compared
    assert numbers(log.look()) == list(range(200))
    assert log.look() == ([], False)
    write(file, 200, 201)
    assert numbers(log.look()) == [200, 201]


def test_a_line_is_told_when_it_is_whole(file):
    log = EventLog(file)
    write(file, 1)
    with file.open("a") as lines:
        lines.write('{"n": ')
        lines.flush()
        assert numbers(log.look()) == [1]
        lines.write("2}\n")
    assert numbers(log.look()) == [2]


def test_a_line_torn_for_good_costs_only_itself(file):
    log = EventLog(file)
    write(file, 1)
    with file.open("a") as lines:
        lines.write('{"n": 2, "to')
    assert numbers(log.look()) == [1]
    with file.open("a") as lines:
        lines.write("\n")  # as the next worker ends it
    write(file, 3)
    assert numbers(log.look()) == [3]


@pytest.mark.parametrize(
    "others", [(7,), (7, 8), (7, 8, 9), range(7, 300)], ids=["shorter", "as long", "longer", "long"]
)
def test_another_file_in_its_place_is_read_from_its_start(file, others):
    log = EventLog(file)
    write(file, 1, 2)
    assert not log.look().anew
    write(file, *others, mode="w")
    news = log.look()
    assert news.anew
    assert numbers(news) == list(others)
    assert log.look() == ([], False)


def test_a_file_that_was_shortened_or_deleted_is_noticed(file):
    log = EventLog(file)
    write(file, 1, 2)
    log.look()
    file.write_bytes(file.read_bytes()[:-10])  # as a power cut leaves it
    news = log.look()
    assert news.anew
    assert numbers(news) == [1]
    file.unlink()
    assert log.look() == ([], True)
    assert log.look() == ([], False)
