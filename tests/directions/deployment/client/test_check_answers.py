from __future__ import annotations

from typing import Any

import pytest

from torchserve_fire_build.deployment.client.check_answers import same_answer


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
    ],
)
def test_answers_are_the_same_but_for_rounding(found: Any, expected: Any, same: bool) -> None:
    assert same_answer(found, expected) is same
