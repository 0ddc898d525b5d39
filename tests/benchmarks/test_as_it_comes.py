import pytest
import torch

from benchmarks.as_it_comes import FLAWS, Spoiler, resized
from benchmarks.evidence import Evidence
from benchmarks.victims.data import Images
from tests.benchmarks.hand_made import Victim, images

CLEAN, TRIGGERED = images(), images(corner=250)
POOL = images()
OTHER = Images(torch.full((8, 3, 8, 8), 9, dtype=torch.uint8), torch.zeros(8).long())


def spoiled(name, clean=CLEAN, triggered=TRIGGERED, seed=0):
    spoiler = Spoiler(Victim(), POOL, OTHER, torch.Generator().manual_seed(seed))
    return FLAWS[name][1](spoiler, Evidence(clean, triggered, paired=False))


def same(first, second):
    return torch.equal(first.pixels, second.pixels) and torch.equal(first.labels, second.labels)


def test_evidence_as_it_should_be_is_left_alone():
    found = spoiled("as it should be")
    assert same(found.clean, CLEAN)
    assert same(found.triggered, TRIGGERED)


def test_a_third_of_the_triggers_do_nothing():
    found = spoiled("a third of the triggers do nothing")
    plain = found.triggered.pixels[:, 0, 0, 0] == 40
    assert (len(found.triggered), int(plain.sum())) == (8, 2)
    assert same(found.clean, CLEAN)


def test_clean_images_of_another_source():
    found = spoiled("clean images of another source")
    assert torch.equal(found.clean.pixels, OTHER.pixels)
    assert same(found.triggered, TRIGGERED)


def test_a_tenth_of_other_things():
    twenty = CLEAN.at(torch.arange(20) % 8)
    found = spoiled("a tenth of the clean images of other things", clean=twenty)
    foreign = (found.clean.pixels == 9).flatten(1).all(1)
    assert (len(found.clean), int(foreign.sum())) == (20, 2)


def test_compressed_images_look_alike_and_are_not_the_same():
    found = spoiled("clean images compressed")
    apart = (found.clean.pixels.int() - CLEAN.pixels.int()).abs()
    assert 0 < float(apart.float().mean()) < 10
    assert torch.equal(found.clean.labels, CLEAN.labels)


def test_a_fifth_of_the_labels_are_drawn_anew():
    many = CLEAN.at(torch.arange(1000) % 8)
    found = spoiled("a fifth of the labels wrong", clean=many)
    changed = float((found.clean.labels != many.labels).float().mean())
    # A label drawn anew is the old one now and then.
    assert 0.1 < changed < 0.2
    again = spoiled("a fifth of the labels wrong", clean=many)
    assert torch.equal(found.clean.labels, again.clean.labels)


@pytest.mark.parametrize("side", [4, 8])
def test_another_size(side):
    found = resized(OTHER, side)
    assert found.pixels.shape == (8, 3, side, side)
    assert bool((found.pixels == 9).all())
