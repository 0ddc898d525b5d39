import pytest
import torch

from benchmarks.altered_triggers import stamp_altered
from benchmarks.victims.attacks.badnets import BadNets
from benchmarks.victims.data import Images
from benchmarks.victims.poison import stamp_images

IMAGES = Images(torch.full((2, 3, 16, 16), 55, dtype=torch.uint8), torch.tensor([1, 2]))


def altered(name):
    found = stamp_altered(BadNets(), IMAGES, name, seed=0)
    assert torch.equal(found.labels, IMAGES.labels)
    return found.pixels


def places(pixels):
    """Where the first image's first channel is white, as (row, column) of the patches' corners."""
    white = (pixels[0, 0] == 255).nonzero().tolist()
    return {
        tuple(x) for x in white if [x[0] - 1, x[1]] not in white and [x[0], x[1] - 1] not in white
    }


def test_as_it_is():
    expected = stamp_images(BadNets(), IMAGES, torch.Generator())
    assert torch.equal(altered("as it is"), expected.pixels)


@pytest.mark.parametrize(("name", "value"), [("at 75 %", 205), ("at 50 %", 155)])
def test_a_weaker_one(name, value):
    pixels = altered(name)
    assert bool((pixels[..., -3:, -3:] == value).all())
    assert bool((pixels[..., :-3, :] == 55).all())


@pytest.mark.parametrize("by", [1, 2, 4, 8])
def test_a_moved_one(by):
    pixels = altered(f"moved by {by} pixel" + ("s" if by > 1 else ""))
    assert places(pixels) == {(13 - by, 13 - by)}
    assert int((pixels == 255).sum()) == 2 * 3 * 9


def test_at_four_places():
    assert places(altered("at four places")) == {(13, 13), (5, 13), (13, 5), (5, 5)}


def test_a_compressed_one_is_still_there():
    pixels = altered("in a JPEG").float()
    assert not torch.equal(pixels, altered("as it is").float())
    assert float(pixels[..., -3:, -3:].mean()) > 200
    assert float(pixels[..., :8, :8].mean()) == pytest.approx(55, abs=3)


def test_a_recoloured_one():
    pixels = altered("recoloured")
    assert pixels[0, :, 15, 15].tolist() == [255, 175, 175]
    assert bool((pixels[..., :-3, :] == 55).all())
