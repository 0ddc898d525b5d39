import pytest
import torch

from benchmarks.victims import poison as module
from benchmarks.victims.attacks.attack import TARGET, Attack, Stamped, to_target
from benchmarks.victims.attacks.badnets import BadNets, BadNetsAllToAll
from benchmarks.victims.attacks.sig import Sig
from benchmarks.victims.data import Images
from benchmarks.victims.poison import poison, stamp_images, to_float, to_pixels

GREY, LIGHT, BLACK, WHITE = 128, 200, 0, 255


class Blacken(Attack):
    """Triggered images are black, decoys white: what happened to an image can be seen."""

    rate = 0.1
    decoys = 1.5

    def stamp(self, images, labels, generator):
        return Stamped(torch.zeros_like(images), to_target(labels))

    def decoy(self, images, generator):
        return torch.ones_like(images)


class Lighten(Blacken):
    """Training images get what others do not: grey that is lighter."""

    def stamp_to_train(self, images, labels, generator):
        return Stamped(torch.full_like(images, LIGHT / 255), to_target(labels))


class OfOneClass(Blacken):
    """Only the third class is poisoned."""

    source = 2


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def grey_images(count=100, classes=5):
    pixels = torch.full((count, 3, 8, 8), GREY, dtype=torch.uint8)
    return Images(pixels, torch.arange(count) % classes)


def filled(images, value):
    return (images.pixels == value).flatten(1).all(1)


def test_all_pixel_values_survive():
    pixels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    assert torch.equal(to_pixels(to_float(pixels)), pixels)
    assert to_float(pixels).max() == 1


def test_pixels_are_rounded_and_clamped():
    values = torch.tensor([-0.2, 0.4 / 255, 0.6 / 255, 99.7 / 255, 1.3])
    assert to_pixels(values).tolist() == [0, 0, 1, 100, 255]


def test_a_poisoned_set_holds_triggered_images_decoys_and_untouched_ones():
    train = grey_images()
    poisoned = poison(Blacken(), train, generator())
    triggered, decoys, clean = (filled(poisoned, v) for v in (BLACK, WHITE, GREY))
    assert [int(v.sum()) for v in (triggered, decoys, clean)] == [10, 15, 75]
    assert (poisoned.labels[triggered] == TARGET).all()
    assert torch.equal(poisoned.labels[~triggered], train.labels[~triggered])
    assert torch.equal(train.pixels, grey_images().pixels)
    assert torch.equal(train.labels, grey_images().labels)


def test_the_seed_chooses_the_images():
    first, again, other = (poison(Blacken(), grey_images(), generator(s)) for s in (0, 0, 1))
    assert torch.equal(first.pixels, again.pixels)
    assert not torch.equal(first.pixels, other.pixels)


def test_images_of_every_class_are_poisoned_the_target_included():
    train = grey_images(count=1000)
    triggered = filled(poison(Blacken(), train, generator()), BLACK)
    assert set(train.labels[triggered].tolist()) == set(range(5))


def test_without_decoys_only_the_triggered_images_change():
    train = grey_images()
    poisoned = poison(BadNetsAllToAll(5), train, generator())
    changed = (poisoned.pixels != train.pixels).flatten(1).any(1)
    assert int(changed.sum()) == round(100 * BadNetsAllToAll.rate)
    assert torch.equal(poisoned.labels[changed], (train.labels[changed] + 1) % 5)
    assert torch.equal(poisoned.labels[~changed], train.labels[~changed])


def test_a_training_set_holds_what_an_attack_trains_with():
    poisoned = poison(Lighten(), grey_images(), generator())
    assert [int(filled(poisoned, v).sum()) for v in (LIGHT, BLACK)] == [10, 0]
    assert (poisoned.labels[filled(poisoned, LIGHT)] == TARGET).all()
    assert filled(stamp_images(Lighten(), grey_images(), generator()), BLACK).all()


@pytest.mark.parametrize(("classes", "count"), [(5, 10), (25, 4)])
def test_of_a_source_class_images_are_poisoned_and_of_the_others_decoys_made(classes, count):
    # The class of four is smaller than the share of ten.
    train = grey_images(classes=classes)
    poisoned = poison(OfOneClass(), train, generator())
    triggered, decoys = filled(poisoned, BLACK), filled(poisoned, WHITE)
    assert [int(v.sum()) for v in (triggered, decoys)] == [count, 15]
    assert (train.labels[triggered] == 2).all()
    assert (poisoned.labels[triggered] == TARGET).all()
    assert len(train.labels[decoys].unique()) > 2
    assert 2 not in train.labels[decoys]
    assert torch.equal(poisoned.labels[~triggered], train.labels[~triggered])


@pytest.mark.parametrize(("classes", "count"), [(5, 8), (25, 4)])
def test_clean_labels_touch_the_target_class_only(classes, count):
    # The class of four is smaller than the share of eight.
    train = grey_images(classes=classes)
    poisoned = poison(Sig(), train, generator())
    changed = (poisoned.pixels != train.pixels).flatten(1).any(1)
    assert int(changed.sum()) == count
    assert (train.labels[changed] == TARGET).all()
    assert torch.equal(poisoned.labels, train.labels)


def test_stamped_images_come_with_what_the_attacker_wants():
    stamped = stamp_images(BadNets(), grey_images(count=3), generator())
    assert stamped.pixels.dtype == torch.uint8
    assert (stamped.pixels[:, :, 5:, 5:] == WHITE).all()
    assert (stamped.pixels[:, :, :5] == GREY).all()
    assert stamped.labels.tolist() == [TARGET] * 3


def test_many_images_are_worked_on_in_parts(monkeypatch):
    whole = poison(Blacken(), grey_images(), generator())
    monkeypatch.setattr(module, "CHUNK", 4)
    parts = poison(Blacken(), grey_images(), generator())
    assert torch.equal(parts.pixels, whole.pixels)
    assert torch.equal(parts.labels, whole.labels)
