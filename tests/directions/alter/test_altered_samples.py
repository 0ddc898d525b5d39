import pytest
import torch

from tests.directions.alter.images import (
    DESCRIPTION,
    everything,
    generator,
    image_evidence,
    in_8_bits,
)
from torchserve_fire.format.bundle import InputDescription
from torchserve_fire_build.alter.alterations import (
    OF_FILES,
    OF_IMAGES,
    OF_PAIRS,
    STRONG,
    kinds_of,
)
from torchserve_fire_build.alter.altered_samples import PAIRS, AlteredSamples, Copy, fit_to
from torchserve_fire_build.alter.pixels import to_inputs, to_pixels

TENSORS = InputDescription("tensor", (1, 6, 6))
ALL = [(kind, True) for kind in OF_PAIRS] + [(kind, False) for kind in OF_IMAGES]


def every(evidence):
    return torch.ones(len(evidence.triggered), dtype=torch.bool)


def altered(evidence, *copies):
    return AlteredSamples(
        evidence, [Copy(*copy) for copy in copies], fit_to(evidence, every(evidence))
    )


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


def test_the_trigger_as_it_is_gives_the_triggered_image_again():
    evidence = image_evidence()
    inputs = everything(altered(evidence, (1, "as it is", 0), (7, "as it is", 3)))
    torch.testing.assert_close(inputs, evidence.triggered.load([1, 7]))


def test_a_weaker_trigger_lies_between_the_clean_and_the_triggered_image():
    evidence = image_evidence()
    (weaker,) = everything(altered(evidence, (1, "weaker", 0)))
    (clean,), (triggered,) = evidence.clean.load([1]), evidence.triggered.load([1])
    share = (weaker - clean)[0, 0, 0] / (triggered - clean)[0, 0, 0]
    assert 0.5 <= float(share) <= 0.9
    torch.testing.assert_close(weaker[0, 1:], clean[0, 1:], atol=0.05, rtol=0)


def test_what_only_strong_alters_and_what_only_files_have_are_kinds():
    assert {*STRONG, *OF_FILES} <= {*OF_PAIRS, *OF_IMAGES}


@pytest.mark.parametrize("paired", [True, False])
def test_tensors_are_not_compressed(paired):
    of_files = kinds_of(image_evidence(paired=paired))
    of_tensors = kinds_of(image_evidence(paired=paired, description=TENSORS))
    assert list(of_files) == list(OF_PAIRS if paired else OF_IMAGES)
    assert list(of_tensors) == [kind for kind in of_files if kind != "compressed"]


def test_tensors_are_neither_cut_off_nor_rounded():
    inputs = torch.randn(2, 1, 6, 6, generator=generator())
    assert torch.equal(to_pixels(inputs, TENSORS), inputs)
    assert torch.equal(to_inputs(inputs, TENSORS), inputs)
    evidence = image_evidence(description=TENSORS)
    (stronger,) = everything(altered(evidence, (1, "stronger", 0)))
    # An image would be cut off at an input of 5.
    assert float(stronger[0, 0, 0]) > 4.3


def test_a_trigger_is_fitted_to_no_more_pairs_than_are_needed(monkeypatch):
    evidence = image_evidence(PAIRS + 4)
    loaded = []
    load = evidence.triggered.load
    monkeypatch.setattr(evidence.triggered, "load", lambda rows: loaded.extend(rows) or load(rows))
    fit = fit_to(evidence, every(evidence))
    assert loaded == list(range(PAIRS))
    changed = (fit.offset.abs() > 0.1).nonzero().tolist()
    assert changed == [[0, 0, 0]]


def test_without_pairs_nothing_is_known_of_a_trigger():
    evidence = image_evidence(paired=False)
    fit = fit_to(evidence, every(evidence))
    assert fit.slope.shape == fit.offset.shape == (1, 6, 6)
    assert not fit.slope.any()
    assert not fit.offset.any()


def test_pixels_are_what_a_request_carries():
    inputs = torch.tensor([-1.0, 0.1 / 0.2, 3.0, 9.0]).view(1, 1, 2, 2)
    pixels = to_pixels(inputs, DESCRIPTION)
    assert pixels.flatten().tolist() == pytest.approx([0, 0.1, 0.6, 1])
    back = to_inputs(pixels, DESCRIPTION) * 0.2 * 255
    assert back.flatten().tolist() == pytest.approx([0, 26, 153, 255], abs=1e-4)
