from __future__ import annotations

from typing import Any

import pytest

from torchserve_fire_build.deployment.client.check_answers import in_common, same_answer


@pytest.mark.parametrize(
    ("found", "expected", "same"),
    [
        ({"a": 0.9, "b": 0.1}, {"a": 0.899, "b": 0.101}, True),
        ({"a": 0.9, "b": 0.1}, {"a": 0.1, "b": 0.9}, False),
        # The last of the top k is decided by rounding, the first is not.
        ({"a": 0.9, "b": 0.05}, {"a": 0.9, "c": 0.05}, True),
        ({"a": 0.6, "b": 0.4}, {"a": 0.6, "c": 0.01}, False),
        ({"a": 0.9}, {"a": 0.9, "b": 0.1}, False),
        ({"predictions": {"a": 0.9}, "fire": {"flagged": True}},) * 2 + (True,),
        ({"fire": {"flagged": True}}, {"fire": {"flagged": False}}, False),
        ([1, "x"], [1.001, "x"], True),
        ([1, "x"], [1, "y"], False),
        ("text", {"a": 1}, False),
        ("cat 0.931, dog 0.05", "cat 0.93, dog 0.0500001", True),
        ("cat 0.931, dog 0.05", "cat 0.93, cow 0.05", False),
        ("cat 0.93", "cat 0.83", False),
        ("cat 1", "cat 1, dog 1", False),
        # A class is not rounded, nor a version.
        ({"class": 283}, {"class": 281}, False),
        ("class 283", "class 281", False),
        ("2.7.1000", "2.7.1001", False),
        ("0010", "0011", False),
        ("cat 1 1", "cat 1", False),
        (b"\xff1", b"\xff1", True),
        (b"\xff1", b"\xff2", False),
    ],
)
def test_answers_are_the_same_but_for_rounding(found: Any, expected: Any, same: bool) -> None:
    assert same_answer(found, expected) is same


def test_what_differs_from_one_answer_to_the_next_is_not_compared() -> None:
    first, second = ({"label": "cat", "p": [0.9, n], "at": f"12:0{n}", "n": n} for n in (3, 4))
    expected = in_common(first, second)
    assert same_answer({"label": "cat", "p": [0.9, 7], "at": "13:00", "n": 9}, expected)
    assert not same_answer({"label": "dog", "p": [0.9, 7], "at": "13:00", "n": 9}, expected)
    assert not same_answer({"label": "cat", "p": [0.8, 7], "at": "13:00", "n": 9}, expected)
    assert in_common(first, first) is first
    assert same_answer("anything", in_common("a", "b"))
