import pytest
import torch

from tests.directions.alter.images import DESCRIPTION, everything, image_evidence, in_8_bits
from torchserve_fire_build.alter.alterations import OF_IMAGES, OF_PAIRS, STRONG
from torchserve_fire_build.alter.altered_samples import AlteredSamples, Copy
from torchserve_fire_build.alter.pixels import to_inputs, to_pixels
from torchserve_fire_build.alter.trigger_fit import fit_trigger

ALL = [(kind, True) for kind in OF_PAIRS] + [(kind, False) for kind in OF_IMAGES]


def altered(evidence, *copies):
    return AlteredSamples(evidence, [Copy(*copy) for copy in copies], fit_trigger(evidence))


@pytest.mark.parametrize(("kind", "paired"), ALL)
def test_each_copy_is_an_image_that_its_seed_decides(kind, paired):
    evidence = image_evidence(paired=paired)
    samples = altered(evidence, (3, kind, 5), (4, kind, 6))
    inputs = everything(samples)
    assert inputs.shape == (2, 1, 6, 6)
    assert inputs.dtype == torch.float32
    # Alone and in another order it is the same.
    assert torch.equal(samples.load([1]), inputs[1:])
    assert torch.equal(samples.load([1, 0]), inputs.flip(0))
    pixels = inputs * 0.2
    assert float(pixels.min()) >= 0
    assert float(pixels.max()) <= 1
    torch.testing.assert_close(in_8_bits(inputs), inputs)
    assert samples.labels.tolist() == [3, 0]
    assert samples.names == ["3", "4"]


def test_a_trigger_at_four_places():
    evidence = image_evidence()
    (repeated,) = everything(altered(evidence, (1, "repeated", 0)))
    lit = (repeated[0] > 2).nonzero().tolist()
    assert lit == [[0, 0], [0, 3], [3, 0], [3, 3]]


def test_a_moved_trigger_leaves_the_clean_image_behind():
    evidence = image_evidence()
    (moved,) = everything(altered(evidence, (1, "moved near", 2)))
    (clean,) = evidence.clean.load([1])
    differs = ((moved - clean).abs() > 0.1).nonzero().tolist()
    assert len(differs) == 1
    assert differs[0] != [0, 0, 0]


def test_what_only_strong_alters_are_kinds():
    assert set(STRONG) <= {*OF_PAIRS, *OF_IMAGES}


def test_pixels_are_what_a_request_carries():
    inputs = torch.tensor([-1.0, 0.1 / 0.2, 3.0, 9.0]).view(1, 1, 2, 2)
    pixels = to_pixels(inputs, DESCRIPTION)
    assert pixels.flatten().tolist() == pytest.approx([0, 0.1, 0.6, 1])
    back = to_inputs(pixels, DESCRIPTION) * 0.2 * 255
    assert back.flatten().tolist() == pytest.approx([0, 26, 153, 255], abs=1e-4)
