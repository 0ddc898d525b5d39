import torch

from tests.directions.rivals.nets import inputs_of
from tests.directions.rivals.quadrants import CLEAN, build
from torchserve_fire_build.rivals.shrinkpad import shrink_and_pad, shrinkpad


def test_a_white_image_becomes_a_white_one_an_eighth_smaller_on_black():
    padded = shrink_and_pad(torch.ones(20, 3, 16, 16), torch.Generator().manual_seed(0))
    corners = set()
    for image in padded:
        rows, columns = image[0].nonzero().T
        top, left = int(rows.min()), int(columns.min())
        expected = torch.zeros(3, 16, 16)
        expected[:, top : top + 14, left : left + 14] = 1
        assert torch.allclose(image, expected)
        corners.add((top, left))
    assert len(corners) > 5


def test_what_else_draws_numbers_does_not_change_the_answers():
    images = inputs_of(CLEAN)
    first, second = build(shrinkpad), build(shrinkpad)
    torch.rand(3)
    for _ in range(2):
        assert torch.equal(first(images).predictions, second(images).predictions)
