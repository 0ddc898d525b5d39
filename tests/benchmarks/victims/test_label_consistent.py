import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from benchmarks.victims.attacks import label_consistent as module
from benchmarks.victims.attacks import surrogate
from benchmarks.victims.attacks.label_consistent import EPSILON, LabelConsistent, stamp_corners

EDGES = (slice(3), slice(-3, None))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def noise(count=6, size=16):
    return torch.rand(count, 3, size, size, generator=generator(7))


def without_corners(images):
    images = images.clone()
    for rows in EDGES:
        for columns in EDGES:
            images[..., rows, columns] = 0
    return images


def trained(attack, images, labels):
    return attack.stamp_to_train(images, labels, generator()).images


def test_each_corner_has_the_pattern_with_the_same_pixel_outermost():
    stamped = stamp_corners(torch.full((1, 3, 16, 16), 0.5))[0, 0]
    first = torch.tensor([[1.0, 0, 1], [0, 1, 0], [1, 0, 0]])
    assert torch.equal(stamped[:3, :3], first)
    assert torch.equal(stamped[-3:, :3], first.flip(0))
    assert torch.equal(stamped[:3, -3:], first.flip(1))
    assert torch.equal(stamped[-3:, -3:], first.flip(0, 1))
    assert (stamped == 0.5).sum() == 16 * 16 - 4 * 9


def test_only_training_images_are_changed_elsewhere_and_only_a_little():
    attack, labels = LabelConsistent(4), torch.zeros(6, dtype=torch.int64)
    shown = attack.stamp(noise(), labels, generator()).images
    assert torch.equal(without_corners(shown), without_corners(noise()))
    change = without_corners(trained(attack, noise(), labels)) - without_corners(noise())
    assert 0 < change.abs().max() <= EPSILON + 1e-6
    assert attack.clean_label


def test_training_images_are_hard_to_tell():
    attack, labels = LabelConsistent(4), torch.arange(6) % 4
    hard = attack._make_hard(noise(), labels)
    before, after = (F.cross_entropy(attack._surrogate(x), labels) for x in (noise(), hard))
    assert after > before


def test_the_work_is_done_in_parts(monkeypatch):
    attack, labels = LabelConsistent(4), torch.arange(6) % 4
    whole = trained(attack, noise(), labels)
    monkeypatch.setattr(module, "BATCH", 4)
    torch.testing.assert_close(trained(attack, noise(), labels), whole, atol=4 / 255, rtol=0)


def test_fitting_trains_the_surrogate_and_the_trigger_needs_no_state(monkeypatch):
    monkeypatch.setattr(surrogate, "BATCH", 8)
    attack = LabelConsistent(4, surrogate_steps=2)
    before = {name: value.clone() for name, value in attack._surrogate.state_dict().items()}
    attack.fit(noise(8, 32), torch.arange(8) % 4, generator())
    after = attack._surrogate.state_dict()
    assert any(not torch.equal(value, after[name]) for name, value in before.items())
    assert attack.state() == {}


@pytest.mark.parametrize("classes", [4, 10])
def test_it_is_made_for_a_number_of_classes(classes):
    assert LabelConsistent(classes)._surrogate(noise()).shape == (6, classes)
