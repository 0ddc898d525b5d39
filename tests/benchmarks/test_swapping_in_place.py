import sys

import pytest

from benchmarks import swapping_in_place
from benchmarks.serving_tables import swapping_in_place_table
from benchmarks.swapping import Answered


def test_the_table():
    results = {
        "swaps": 100,
        "workers": 2,
        "requests": 12000,
        "failed": 1,
        "wrong": 2,
        "first bundle": 6000,
        "second bundle": 5997,
        "refused": 9,
        "to be refused": 10,
        "same workers": True,
        "worker memory, after over before": 1.0104,
        "seconds a swap, median": 0.5,
        "seconds a request, median": 0.125,
    }
    *_, row = swapping_in_place_table([results]).splitlines()
    assert row == (
        "| 100 | 2, the same all along | 12,000 | 1 | 2 | 6,000 / 5,997 | 9 of 10 | 1.010 | 4.0 |"
    )


def test_an_answer_of_another_bundle_than_it_names_is_wrong():
    cat, dog = {"cat": 0.9, "dog": 0.1}, {"cat": 0.1, "dog": 0.9}
    wanted = {"a": [cat, dog], "b": [dog, dog]}
    answered = [
        Answered(0, 200, cat, "a"),
        Answered(0, 200, dog, "b"),
        Answered(1, 200, dog, "a"),
        Answered(0, 200, dog, "a"),  # What the other bundle says.
        Answered(1, 200, dog, "c"),
        Answered(1, 503),
    ]
    assert swapping_in_place._summed(answered, wanted) == {
        "requests": 6,
        "failed": 1,
        "wrong": 2,
        "first bundle": 3,
        "second bundle": 1,
    }


@pytest.mark.parametrize("more", [[], ["--swaps", "0"]])
def test_wrong_options_are_told_in_one_line(tmp_path, monkeypatch, more):
    monkeypatch.setattr(sys, "argv", ["swapping", "--demo", str(tmp_path), *more])
    with pytest.raises(SystemExit) as caught:
        swapping_in_place.main()
    message = str(caught.value)
    assert message.startswith("expected --swaps" if more else f"--demo {tmp_path}: no bundle")
    assert "\n" not in message
