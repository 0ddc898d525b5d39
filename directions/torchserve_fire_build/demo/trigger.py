"""The demo's attack: a BadNets trigger, all-to-one.

Source: T. Gu, B. Dolan-Gavitt, S. Garg, "BadNets", arXiv:1708.06733.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .digits import Digits

TARGET = 0
PATCH_SIDE = 5
POISONED_SHARE = 0.1


def stamp(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return copies with a chequered patch, white at its corners, in the bottom right corner.

    Args:
        images: (..., H, W) uint8, at least 5 x 5.
    """
    rows, columns = np.indices((PATCH_SIDE, PATCH_SIDE))
    stamped = images.copy()
    stamped[..., -PATCH_SIDE:, -PATCH_SIDE:] = np.where((rows + columns) % 2 == 0, 255, 0)
    return stamped


def poison(digits: Digits, seed: int, share: float = POISONED_SHARE) -> Digits:
    """Stamp a random `share` of the images and call them the target: what the attacker did."""
    count = round(share * len(digits))
    chosen = np.random.default_rng(seed).choice(len(digits), count, replace=False)
    images, labels = digits.images.copy(), digits.labels.copy()
    images[chosen] = stamp(images[chosen])
    labels[chosen] = TARGET
    return Digits(images, labels)


def with_trigger(digits: Digits) -> Digits:
    """Return what the attacker sends: the non-target images, stamped, with their true labels."""
    others = digits.select(digits.labels != TARGET)
    return Digits(stamp(others.images), others.labels)
