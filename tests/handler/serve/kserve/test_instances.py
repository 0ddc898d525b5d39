"""KServe's v1 protocol: what is a request of it, and what its instances' answers become."""

from __future__ import annotations

import json
from typing import Any

import pytest

from torchserve_fire.core.answer import Answer
from torchserve_fire.errors import InputError
from torchserve_fire.serve.kserve.instances import instances_in, predictions

GOOD = Answer(200, {"cat": 0.9}, {"x-fire-bundle": "b", "x-fire-flagged": "false"})
FLAGGED = Answer(200, {"dog": 0.8}, {"x-fire-bundle": "b", "x-fire-flagged": "true"})
BAD = Answer(400, {"code": 400, "type": "InputError", "message": "no image"})
REJECTED = Answer(422, {"error": "FlaggedInput: a trigger", "outputs": []}, {"x-fire-bundle": "b"})


@pytest.mark.parametrize("decoded", [True, False])
def test_instances(decoded: bool) -> None:
    body: Any = {"instances": ["a", [1.0]]}
    assert instances_in(body if decoded else json.dumps(body).encode(), 2) == ["a", [1.0]]


@pytest.mark.parametrize(
    "body",
    [
        b"\x89PNG",
        b"",
        "text",
        [1],
        {"data": [1]},
        {"instances": [1], "more": 1},
        b'{"instances": [1',
        b'{"x": "\\"instances\\""}',
        b'{"instances"' * 5000,
    ],
)
def test_other_bodies_are_none(body: Any) -> None:
    assert instances_in(body, 8) is None


@pytest.mark.parametrize("instances", [[], [1, 2, 3], None, "ab", {"b64": ""}])
def test_none_or_too_many(instances: Any) -> None:
    with pytest.raises(InputError, match="instances: expected a list of 1 to 2 samples"):
        instances_in({"instances": instances}, 2)


def test_the_answers_stand_in_their_order() -> None:
    answer = predictions([GOOD, FLAGGED])
    assert (answer.status, answer.body) == (200, {"predictions": [{"cat": 0.9}, {"dog": 0.8}]})
    assert answer.headers == {"x-fire-bundle": "b, b", "x-fire-flagged": "false, true"}


def test_one_that_is_refused_refuses_the_request_and_is_named() -> None:
    answer = predictions([GOOD, BAD, REJECTED])
    assert answer.status == 400
    assert answer.body == {
        "code": 400,
        "type": "InputError",
        "message": "instances[1]: no image",
    }
    assert answer.headers == {"x-fire-bundle": "b, , b", "x-fire-flagged": "false, , "}
    assert predictions([REJECTED]).status == 422
