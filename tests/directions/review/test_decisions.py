"""Decisions are on the disk before they count, and each change can be undone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from torchserve_fire.errors import FireError
from torchserve_fire_build.common.errors import SamplesError
from torchserve_fire_build.review.decisions import DROP, KEEP, Decisions


def reopened(decisions: Decisions, path: Path, folder: Path) -> Decisions:
    decisions.close()
    return Decisions(path, folder)


def test_what_was_decided_is_there_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    decisions = Decisions(path, tmp_path)
    assert decisions.decide(["a", "b"], KEEP) == {"a": KEEP, "b": KEEP}
    assert decisions.decide(["b", "c"], DROP) == {"b": DROP, "c": DROP}
    decisions = reopened(decisions, path, tmp_path)
    assert [decisions.of(name) for name in "abcd"] == [KEEP, DROP, DROP, None]


def test_undo_goes_back_change_by_change_also_over_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    decisions = Decisions(path, tmp_path)
    decisions.decide(["a", "b"], KEEP)
    decisions.decide(["b", "c"], DROP)
    decisions = reopened(decisions, path, tmp_path)
    assert decisions.undo() == {"b": KEEP, "c": None}
    decisions = reopened(decisions, path, tmp_path)
    assert [decisions.of(name) for name in "abc"] == [KEEP, KEEP, None]
    assert decisions.undo() == {"a": None, "b": None}
    assert decisions.undo() == {}
    assert decisions.changes == 0


def test_a_decision_that_changes_nothing_is_no_change_to_undo(tmp_path: Path) -> None:
    decisions = Decisions(tmp_path / "d.jsonl", tmp_path)
    decisions.decide(["a"], KEEP)
    assert decisions.decide(["a"], KEEP) == {}
    assert decisions.changes == 1


def test_a_line_that_a_crash_cut_off_is_as_if_it_had_not_been_begun(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    decisions = Decisions(path, tmp_path)
    decisions.decide(["a"], KEEP)
    decisions.close()
    whole = path.read_bytes()
    for cut in range(1, len(b'{"decision": "drop", "names": ["a"]}')):
        path.write_bytes(whole + b'{"decision": "drop", "names": ["a"]}'[:cut])
        again = Decisions(path, tmp_path)
        assert again.of("a") == KEEP
        again.decide(["b"], DROP)
        again = reopened(again, path, tmp_path)
        assert (again.of("a"), again.of("b")) == (KEEP, DROP)
        again.close()


def test_a_second_review_of_the_same_decisions_is_refused(tmp_path: Path) -> None:
    first = Decisions(tmp_path / "d.jsonl", tmp_path)
    with pytest.raises(FireError, match="another review has it open"):
        Decisions(tmp_path / "d.jsonl", tmp_path)
    first.close()
    Decisions(tmp_path / "d.jsonl", tmp_path).close()


def test_decisions_of_another_quarantine_are_refused(tmp_path: Path) -> None:
    Decisions(tmp_path / "d.jsonl", tmp_path / "one").close()
    with pytest.raises(SamplesError, match=r"one, expected of .*other"):
        Decisions(tmp_path / "d.jsonl", tmp_path / "other")


@pytest.mark.parametrize(
    "line", [b"text", b"[]", b'{"form": "else"}', b'{"decision": "maybe", "names": ["a"]}', b"{}"]
)
def test_a_file_that_is_no_journal_is_refused_and_left_as_it_is(
    line: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "d.jsonl"
    Decisions(path, tmp_path).close()
    head = path.read_bytes() if b"decision" in line or line == b"{}" else b""
    path.write_bytes(head + line + b"\n")
    with pytest.raises(SamplesError, match="expected the decisions of a review"):
        Decisions(path, tmp_path)
    assert path.read_bytes() == head + line + b"\n"


def test_names_are_kept_whatever_is_in_them(tmp_path: Path) -> None:
    name = 'a"\n<b>\u2028\udce4.png'
    decisions = Decisions(tmp_path / "d.jsonl", tmp_path)
    decisions.decide([name], KEEP)
    assert len((tmp_path / "d.jsonl").read_bytes().splitlines()) == 2
    assert json.loads((tmp_path / "d.jsonl").read_bytes().splitlines()[1])["names"] == [name]
    assert reopened(decisions, tmp_path / "d.jsonl", tmp_path).of(name) == KEEP
