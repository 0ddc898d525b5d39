"""Real handwritten digits, split into parts for training, calibration and the test."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

IMAGE_SIDE = 32
CALIBRATION_IMAGES = 300
TEST_IMAGES = 400


@dataclass(frozen=True)
class Digits:
    """Images of handwritten digits.

    Attributes:
        images: (N, 32, 32) uint8, white on black.
        labels: (N,) int64, the digit.
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def select(self, index: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> Digits:
        """Return the images at `index` (positions, or a mask)."""
        return Digits(self.images[index], self.labels[index])


@dataclass(frozen=True)
class SplitDigits:
    """Three parts without a common image."""

    train: Digits
    calibration: Digits
    test: Digits


def load_digits() -> Digits:
    """Return the 1,797 digits that scikit-learn ships, enlarged from 8 x 8 to 32 x 32.

    Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998.
    """
    from sklearn import datasets

    data = datasets.load_digits()
    small = np.rint(data.images * (255 / 16)).astype(np.uint8)
    size = (IMAGE_SIDE, IMAGE_SIDE)
    images = [np.asarray(Image.fromarray(i).resize(size, Image.Resampling.BICUBIC)) for i in small]
    return Digits(np.stack(images), data.target.astype(np.int64))


def split_digits(
    digits: Digits,
    seed: int,
    calibration: int = CALIBRATION_IMAGES,
    test: int = TEST_IMAGES,
) -> SplitDigits:
    """Split at random; what is neither calibration nor test is for training."""
    order = np.random.default_rng(seed).permutation(len(digits))
    parts = np.split(order, [calibration, calibration + test])
    return SplitDigits(
        calibration=digits.select(parts[0]),
        test=digits.select(parts[1]),
        train=digits.select(parts[2]),
    )
