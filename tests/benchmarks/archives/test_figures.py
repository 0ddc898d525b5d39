from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.archives.case import Case, Sample
from benchmarks.archives.figures import accuracies, form, row_of
from benchmarks.archives.production import Answered, Command, Went

CLASSES = ("cat", "dog", "cow")
CASE = Case(
    "a case",
    Path("net-1.0.mar"),
    Path("clean"),
    Path("triggered"),
    [Sample(b"", b"", label) for label in (0, 1, 2, 1)],
    CLASSES,
    0,
    ".png",
    "application/octet-stream",
    lambda answer: str(answer["label"]),
)
PLAIN, REPAIRED = {"label": "cat", "score": 0.9}, {"label": "dog", "score": 0.8}


def answers(*names):
    return [{"label": name, "score": 0.5} for name in names]


def answered(began, ended, body, status=200, *, repaired=False):
    return Answered(0, began, ended, status, body, repaired)


def went(*requests):
    commands = [Command("torchserve-fire repair a.mar", 0, 10), Command("t deploy b.mar", 10, 20)]
    clean, triggered = answers("cat", "dog", "cow", "dog"), answers("dog", "cow", "dog")
    return Went(
        commands,
        list(requests),
        ([PLAIN], [REPAIRED]),
        (clean, answers("cat", "cat", "cat")),
        (clean, triggered),
    )


def test_accuracies_by_hand():
    clean = answers("cat", "dog", "cat", "cow")
    triggered = answers("cat", "cat", "dog")
    assert accuracies(CASE, clean, triggered) == {
        "clean_accuracy": 0.5,
        "attack_success_rate": pytest.approx(2 / 3),
        "recovered_accuracy": pytest.approx(1 / 3),
        "clean_partners": pytest.approx(1 / 3),
        "natural_rate": pytest.approx(1 / 3),
    }


def test_an_answer_is_right_by_the_archive_that_was_served_at_its_time():
    before, during, after = (1, 9.9), (9.9, 10.1), (20.1, 20.2)
    everything = went()
    right = [
        everything.is_right(answered(*time, body))
        for time in (before, during, after)
        for body in (PLAIN, REPAIRED, {"label": "cow", "score": 0.9})
    ]
    assert right == [True, False, False, True, True, False, False, True, False]


def test_requests_are_counted():
    row = row_of(
        CASE,
        went(
            answered(1, 2, PLAIN),
            answered(1, 2, None, 503),
            answered(1, 2, REPAIRED, repaired=True),
            answered(21, 22, REPAIRED, repaired=True),
        ),
    )
    assert row["commands"] == ["repair", "deploy"]
    assert row["seconds"] == [10, 10]
    counts = [row[name] for name in ("requests", "failed", "wrong")]
    assert counts == [4, 1, 1]
    assert (row["answered plain"], row["answered repaired"]) == (1, 2)
    assert row["same form"]
    assert row["before"]["attack_success_rate"] == 1
    assert row["after"]["attack_success_rate"] == 0


def test_another_form_is_noticed():
    everything = went()
    other = [{**answer, "fire": True} for answer in everything.after[0]]
    changed = replace(everything, after=(other, everything.after[1]))
    assert not row_of(CASE, changed)["same form"]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"cat": 0.9, "dog": 0.1}, "{CLASS: float, CLASS: float}"),
        ([{"label": "cow", "score": 1.0}], "[{label: CLASS, score: float}]"),
        ("a text", "str"),
    ],
)
def test_forms(answer, expected):
    assert form(answer, CLASSES) == expected
