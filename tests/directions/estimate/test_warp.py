import math

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from torchserve_fire.repair.unwarp import Unwarp
from torchserve_fire_build.estimate.warp import estimate_warp

SIZE = 16


def smooth(count=24, height=SIZE, width=SIZE, seed=0):
    """Random images without fine detail, (count, 3, height, width)."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 5, 5, generator=generator)
    return F.interpolate(coarse, (height, width), mode="bicubic", align_corners=True)


def turned(images, degrees):
    sine, cosine = (f(math.radians(degrees)) for f in (math.sin, math.cos))
    matrix = torch.tensor([[cosine, -sine, 0.0], [sine, cosine, 0.0]]).expand(len(images), -1, -1)
    grid = F.affine_grid(matrix, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)


def waved(images):
    """Each row, moved to the right or left by up to 1.5 places."""
    rows = torch.linspace(-1, 1, SIZE)
    down, across = torch.meshgrid(rows, rows, indexing="ij")
    grid = torch.stack((across + 3 / SIZE * torch.sin(3 * down), down), -1)
    return F.grid_sample(
        images, grid.expand(len(images), -1, -1, -1), padding_mode="border", align_corners=True
    )


MIDDLE = (..., slice(4, 12), slice(4, 12))


@pytest.mark.parametrize(
    "trigger",
    [
        lambda images: images.flip(3),
        lambda images: images.flip(2),
        lambda images: images.rot90(1, (2, 3)),
        lambda images: images.rot90(2, (2, 3)),
        lambda images: turned(images, 20),
        lambda images: turned(images, -50),
        lambda images: images.roll((2, 3), (2, 3)),
        waved,
    ],
    ids=["mirrored", "upside down", "90", "180", "20", "-50", "moved", "waved"],
)
def test_what_a_trigger_moves_is_moved_back(trigger):
    found = estimate_warp(smooth(), trigger(smooth()))
    test = smooth(seed=1)
    before = (trigger(test) - test)[MIDDLE].square().mean()
    after = (Unwarp(found)(trigger(test)) - test)[MIDDLE].square().mean()
    assert float(after) < 0.03 * float(before)


def test_images_need_not_be_square():
    images = smooth(height=12, width=20)
    found = estimate_warp(images, images.roll(2, 3))
    assert found.moves.shape == (2, 12, 20)
    middle = found.moves[:, 3:9, 4:14]
    torch.testing.assert_close(middle[1], torch.full_like(middle[1], 2.0), atol=0.2, rtol=0)
    torch.testing.assert_close(middle[0], torch.zeros_like(middle[0]), atol=0.2, rtol=0)


def patched(images):
    images = images.clone()
    images[:, :, 2:6, 2:6] = 1
    return images


@pytest.mark.parametrize(
    "trigger",
    [
        patched,
        lambda images: images,
        lambda images: 0.8 * images + 0.2 * smooth(1, seed=9),
        lambda images: images.pow(2),
        lambda images: images[torch.arange(len(images)).roll(1)],
    ],
    ids=["patch", "nothing", "blended", "curve", "other images"],
)
def test_what_moves_nothing_is_no_warp(trigger):
    assert estimate_warp(smooth(), trigger(smooth())) is None


def test_the_caller_decides_on_gradients():
    with torch.no_grad():
        found = estimate_warp(smooth(), smooth().flip(3))
    assert not found.moves.requires_grad
