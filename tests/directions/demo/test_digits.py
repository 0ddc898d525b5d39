import numpy as np

from torchserve_fire_build.demo.digits import Digits, load_digits, split_digits


def numbered(count: int) -> Digits:
    """Images that can be told apart: each holds its own number."""
    images = np.broadcast_to(np.arange(count, dtype=np.uint8)[:, None, None], (count, 2, 2))
    return Digits(images.copy(), np.arange(count) % 10)


def test_digits_are_the_1797_of_scikit_learn_at_32_by_32():
    digits = load_digits()
    assert digits.images.shape == (1797, 32, 32)
    assert digits.images.dtype == np.uint8
    assert digits.labels.shape == (1797,)
    assert set(digits.labels.tolist()) == set(range(10))
    # White on black: 16 becomes 255, and most of an image is background.
    assert digits.images.max() == 255
    assert np.median(digits.images) < 64


def test_no_image_appears_twice():
    images = load_digits().images.reshape(1797, -1)
    assert len(np.unique(images, axis=0)) == 1797


def test_parts_are_disjoint_and_whole():
    parts = split_digits(numbered(50), seed=3, calibration=10, test=15)
    numbers = [
        part.images[:, 0, 0].tolist() for part in (parts.train, parts.calibration, parts.test)
    ]
    assert [len(n) for n in numbers] == [25, 10, 15]
    assert sorted(n for part in numbers for n in part) == list(range(50))


def test_labels_stay_with_their_images():
    parts = split_digits(numbered(50), seed=3, calibration=10, test=15)
    for part in (parts.train, parts.calibration, parts.test):
        assert (part.images[:, 0, 0] % 10 == part.labels).all()


def test_split_depends_on_the_seed_alone():
    first, again, other = (split_digits(numbered(50), seed, 10, 15) for seed in (0, 0, 1))
    assert (first.test.images == again.test.images).all()
    assert not (first.test.images == other.test.images).all()
