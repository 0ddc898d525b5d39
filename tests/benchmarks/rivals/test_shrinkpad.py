import torch

from benchmarks.rivals.shrinkpad import shrink_and_pad, shrinkpad
from benchmarks.victims.poison import to_float
from tests.benchmarks.rivals.quadrants import CLEAN, build


def test_a_white_image_becomes_a_smaller_white_one_on_black():
    padded = shrink_and_pad(torch.ones(20, 3, 8, 8), torch.Generator().manual_seed(0))
    corners = set()
    for image in padded:
        rows, columns = image[0].nonzero().T
        top, left = int(rows.min()), int(columns.min())
        expected = torch.zeros(3, 8, 8)
        expected[:, top : top + 4, left : left + 4] = 1
        assert torch.allclose(image, expected)
        corners.add((top, left))
    assert len(corners) > 5


def test_what_else_draws_numbers_does_not_change_the_answers():
    images = to_float(CLEAN.pixels)
    first, second = build(shrinkpad), build(shrinkpad)
    torch.rand(3)
    for _ in range(2):
        assert torch.equal(first(images).predictions, second(images).predictions)
