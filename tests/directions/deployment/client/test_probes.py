from __future__ import annotations

import io
import json
from typing import Any

import pytest
from PIL import Image

from torchserve_fire.format.bundle import InputDescription
from torchserve_fire_build.deployment.client.probes import random_bodies, same_answer


def test_images_of_the_models_size_the_same_for_the_same_seed() -> None:
    for channels, mode in ((3, "RGB"), (1, "L")):
        described = InputDescription(
            "image", (channels, 6, 5), (0.0,) * channels, (1.0,) * channels
        )
        bodies = random_bodies(described)
        assert bodies == random_bodies(described)
        assert bodies != random_bodies(described, seed=1)
        for body in bodies:
            opened = Image.open(io.BytesIO(body.content))
            assert (opened.size, opened.mode) == ((5, 6), mode)


def test_tensors_are_json_lists() -> None:
    body = random_bodies(InputDescription("tensor", (2, 3)))[0]
    assert [len(row) for row in json.loads(body.content)] == [3, 3]


def test_integers_are_those_that_every_embedding_has() -> None:
    body = random_bodies(InputDescription("integers", (50,)))[0]
    assert set(json.loads(body.content)) == {0, 1}


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
