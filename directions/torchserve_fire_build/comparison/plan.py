"""How long a comparison takes, from what a forward pass takes on this machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ..common.names import OURS


@dataclass(frozen=True)
class Sizes:
    """How many samples a defence works on.

    Attributes:
        drawn: calibration samples of a draw, clean and triggered.
        pool: clean samples, for defences that train.
        test: samples to measure on, clean and triggered.
    """

    drawn: int
    pool: int
    test: int


MEASURING = 100
"""Passes of single inputs for the time of a request."""

BUILDING: Mapping[str, Callable[[Sizes], float]] = {
    OURS: lambda sizes: 45 * sizes.drawn,
    "fire_every_input": lambda sizes: 17 * sizes.drawn,
    "fire_flagged_inputs": lambda sizes: 19 * sizes.drawn,
    "channel_mean_shift": lambda sizes: 15 * sizes.drawn,
    "projection_removal": lambda sizes: 15 * sizes.drawn,
    "leace": lambda sizes: 14 * sizes.drawn,
    "activation_clipping": lambda sizes: 4 * sizes.pool,
    "fine_tuning": lambda sizes: 57 * sizes.pool,
    "fine_pruning": lambda sizes: 58 * sizes.pool,
    "retraining": lambda sizes: 285 * sizes.pool,
    "patching": lambda sizes: 200_000 + 57 * sizes.pool,
    "patching_without_images": lambda sizes: 250_000,
    "pruning": lambda sizes: 1.5 * sizes.pool,
    "orthogonalizing": lambda sizes: 21 * sizes.drawn,
    "neural_polarizer": lambda sizes: 90 * sizes.pool,
    "unit": lambda sizes: 230_000 + 12 * sizes.pool,
    "isolation_forest": lambda sizes: sizes.pool,
    "spectral_signatures": lambda sizes: 2 * (sizes.drawn + sizes.pool),
}
"""Forward passes of one sample that take as long as building a defence does, about.

Measured on a residual network of 13 candidate layers. Training takes the epochs that the defences
have, each three times as long as forward passes.
"""

ANSWERING: Mapping[str, int] = {"lite_bd": 21}
"""Passes of an answer, at most, where there may be more than two."""


def expected_seconds(name: str, sizes: Sizes, pass_seconds: float) -> float:
    """Return how long building and measuring a defence takes, about.

    Args:
        name: of the defence.
        sizes: of what it works on.
        pass_seconds: of one sample in a forward pass.
    """
    building = BUILDING.get(name)
    answering = ANSWERING.get(name, 1) * (sizes.test + MEASURING)
    return (answering + (0 if building is None else building(sizes))) * pass_seconds
