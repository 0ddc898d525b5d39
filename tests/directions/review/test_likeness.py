"""Samples that lie together are one group, however many there are."""

from __future__ import annotations

import numpy as np
import pytest

from torchserve_fire_build.review.likeness import group_alike


def blobs(*sizes: int, dimensions: int = 20) -> np.ndarray:
    generator = np.random.default_rng(3)
    return np.concatenate(
        [
            generator.normal(size=(size, dimensions)) + 30 * np.eye(dimensions)[k]
            for k, size in enumerate(sizes)
        ]
    )


def test_groups_are_those_that_lie_apart_the_largest_first() -> None:
    groups = group_alike(blobs(20, 60, 40), 0)
    assert groups == [2] * 20 + [0] * 60 + [1] * 40


@pytest.mark.parametrize("rows", [np.zeros((40, 3)), np.zeros((0, 3)), blobs(5), blobs(1)])
def test_what_does_not_lie_apart_is_one_group(rows: np.ndarray) -> None:
    assert group_alike(rows, 0) == [0] * len(rows)


def test_one_cloud_is_one_group() -> None:
    assert set(group_alike(blobs(300), 0)) == {0}


def test_many_more_samples_than_are_compared_are_grouped() -> None:
    groups = group_alike(blobs(3000, 1500), 0)
    assert groups == [0] * 3000 + [1] * 1500
