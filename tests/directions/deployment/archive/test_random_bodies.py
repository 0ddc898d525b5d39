from __future__ import annotations

import io
import json

from PIL import Image

from torchserve_fire.format.bundle import InputDescription
from torchserve_fire.format.resizing import Resizing
from torchserve_fire_build.deployment.archive.random_bodies import random_bodies


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


def test_images_that_are_cropped_are_larger_than_the_input() -> None:
    cropped = InputDescription("image", (3, 6, 5), (0.0,) * 3, (1.0,) * 3, Resizing(7, True))
    width, height = Image.open(io.BytesIO(random_bodies(cropped)[0].content)).size
    assert width > 5
    assert height > 6
    assert width * 6 != height * 5


def test_tensors_are_json_lists() -> None:
    body = random_bodies(InputDescription("tensor", (2, 3)))[0]
    assert [len(row) for row in json.loads(body.content)] == [3, 3]


def test_integers_are_those_that_every_embedding_has() -> None:
    body = random_bodies(InputDescription("integers", (50,)))[0]
    assert set(json.loads(body.content)) == {0, 1}
