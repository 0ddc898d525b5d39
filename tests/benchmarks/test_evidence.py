import pytest
import torch

from benchmarks.evidence import CLEAN, KINDS, EvidenceKind, draw_evidence
from benchmarks.victims.attacks.badnets import BadNets
from benchmarks.victims.attacks.tact import TaCT
from benchmarks.victims.data import Images


def pool(count=400):
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 200, (count, 3, 8, 8), generator=generator, dtype=torch.uint8)
    return Images(pixels, torch.arange(count) % 10)


def is_triggered(images):
    return (images.pixels[..., -3:, -3:] == 255).flatten(1).all(1)


def test_pairs_differ_by_the_trigger_alone():
    found = draw_evidence(EvidenceKind(20, paired=True), BadNets(), pool(), seed=0)
    assert len(found.clean) == len(found.triggered) == 20
    assert torch.equal(found.clean.labels, found.triggered.labels)
    assert bool(is_triggered(found.triggered).all())
    assert not bool(is_triggered(found.clean).any())
    rest = torch.ones(8, 8, dtype=torch.bool)
    rest[-3:, -3:] = False
    assert torch.equal(found.clean.pixels[..., rest], found.triggered.pixels[..., rest])


def test_unpaired_images_are_of_other_content_and_of_other_classes_than_the_target():
    found = draw_evidence(EvidenceKind(50, paired=False), BadNets(), pool(), seed=0)
    assert len(found.clean) == CLEAN
    assert len(found.triggered) == 50
    assert 0 not in found.triggered.labels
    assert 0 in found.clean.labels
    corners = found.clean.pixels[:, :, :5, :5].flatten(1)
    for row in found.triggered.pixels[:, :, :5, :5].flatten(1):
        assert not bool((corners == row).all(1).any())


@pytest.mark.parametrize("paired", [True, False])
def test_triggered_images_are_of_the_source_class_where_there_is_one(paired):
    found = draw_evidence(EvidenceKind(15, paired), TaCT(), pool(), seed=0)
    assert found.triggered.labels.tolist() == [TaCT.source] * 15
    assert torch.equal(found.clean.labels, found.triggered.labels) == paired


def test_5_percent_of_each_lie_among_the_others():
    found = draw_evidence(EvidenceKind(100, False, mislabelled=True), BadNets(), pool(), seed=0)
    assert (len(found.clean), len(found.triggered)) == (CLEAN, 100)
    assert int(is_triggered(found.clean).sum()) == 5
    assert int((~is_triggered(found.triggered)).sum()) == 5


def test_a_seed_draws_the_same_and_another_seed_does_not():
    first, same, other = (draw_evidence(KINDS[1], BadNets(), pool(), s) for s in (0, 0, 1))
    assert torch.equal(first.triggered.pixels, same.triggered.pixels)
    assert not torch.equal(first.triggered.pixels, other.triggered.pixels)
