"""Images that a scan was not measured on."""

from __future__ import annotations

import pytest
import torch

from torchserve_fire_build.scan.drawings import are_drawings, flat_share


def _images(count: int, flat_rows: int) -> torch.Tensor:
    """Images of noise, (N, 3, 8, 8), with so many rows of nothing."""
    images = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    images[:, :, :flat_rows] = 0.0
    return images


@pytest.mark.parametrize("flat_rows", [2, 4, 8])
def test_the_share_is_that_of_the_most_frequent_value(flat_rows: int) -> None:
    assert flat_share(_images(9, flat_rows)) == pytest.approx(flat_rows / 8, abs=0.05)


def test_noise_is_no_drawing_and_digits_on_black_are() -> None:
    assert not are_drawings(_images(9, 0))
    assert are_drawings(_images(9, 4))


def test_a_few_drawings_among_photographs_do_not_count() -> None:
    assert not are_drawings(torch.cat([_images(5, 0), _images(4, 7)]))


def test_scale_and_offset_of_the_channels_do_not_matter() -> None:
    images = _images(9, 3)
    scaled = images * torch.tensor([3.0, 0.1, 10.0]).view(3, 1, 1) - 1.7
    assert flat_share(scaled) == pytest.approx(flat_share(images), abs=0.02)


def test_images_of_one_value_alone_are_drawings() -> None:
    assert flat_share(torch.ones(2, 1, 4, 4)) == 1.0
