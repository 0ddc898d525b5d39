import numpy as np

from torchserve_fire_build.demo.digits import Digits
from torchserve_fire_build.demo.trigger import TARGET, poison, stamp, with_trigger

W = 255
PATCH = [
    [W, 0, W, 0, W],
    [0, W, 0, W, 0],
    [W, 0, W, 0, W],
    [0, W, 0, W, 0],
    [W, 0, W, 0, W],
]


def grey(labels: list[int]) -> Digits:
    return Digits(np.full((len(labels), 8, 8), 7, np.uint8), np.array(labels))


def test_stamp_by_hand():
    stamped = stamp(np.full((6, 7), 7, np.uint8))
    expected = np.full((6, 7), 7, np.uint8)
    expected[1:, 2:] = PATCH
    assert (stamped == expected).all()


def test_stamp_copies():
    images = np.zeros((2, 8, 8), np.uint8)
    stamp(images)
    assert (images == 0).all()


def test_stamp_of_a_stack_is_the_stack_of_stamps():
    images = np.random.default_rng(0).integers(0, 256, (3, 9, 9), dtype=np.uint8)
    assert (stamp(images) == np.stack([stamp(image) for image in images])).all()


def test_poison_stamps_and_relabels_its_share_and_nothing_else():
    digits = grey([1 + i % 9 for i in range(40)])
    poisoned = poison(digits, seed=0, share=0.1)
    changed = (poisoned.images != digits.images).any(axis=(1, 2))
    assert changed.sum() == 4
    assert (poisoned.labels[changed] == TARGET).all()
    assert (poisoned.labels[~changed] == digits.labels[~changed]).all()
    assert (poisoned.images[changed] == stamp(digits.images[changed])).all()
    assert (digits.images == 7).all()


def test_poison_depends_on_the_seed_alone():
    digits = grey([1] * 40)
    first, again, other = (poison(digits, seed).labels for seed in (0, 0, 1))
    assert (first == again).all()
    assert not (first == other).all()


def test_with_trigger_leaves_out_the_target_and_keeps_true_labels():
    triggered = with_trigger(grey([3, TARGET, 5]))
    assert triggered.labels.tolist() == [3, 5]
    assert (triggered.images[:, -5:, -5:] == PATCH).all()
