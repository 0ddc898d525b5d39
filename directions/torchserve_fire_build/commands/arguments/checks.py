"""Checks that several commands make of what they are told."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torchserve_fire.format.bundle import Bundle
    from torchserve_fire.model.config import HandlerConfig
    from torchserve_fire.model.load_model import LoadedModel


def check_seed(seed: int) -> None:
    """Refuse a `--seed` that a generator does not take.

    Raises:
        ArgumentError: it is negative, or too large.
    """
    from ...common.errors import ArgumentError

    if not 0 <= seed < 2**63:
        raise ArgumentError(f"--seed {seed}: expected 0 to 2**63 - 1")


def read_target(target: str) -> int | None:
    """Return the class that `--target` names; None where it is to be found.

    Raises:
        ArgumentError: it is neither.
    """
    from ...common.errors import ArgumentError

    if target == "auto":
        return None
    if not target.isdecimal():
        raise ArgumentError(f"--target {target}: expected auto or a class index")
    return int(target)


def check_positive(flag: str, value: float, most: float | None = None) -> None:
    """Refuse a number that is not above 0, or is infinite, or exceeds the most that it may be.

    Raises:
        ArgumentError: naming the flag.
    """
    from ...common.errors import ArgumentError

    if not 0 < value < math.inf or (most is not None and value > most):
        limit = "" if most is None else f", at most {most:g}"
        raise ArgumentError(f"{flag} {value:g}: expected a number above 0{limit}")


def load_fitting_bundle(file: Path, config: HandlerConfig, loaded: LoadedModel) -> Bundle:
    """Read a bundle, and refuse one that was built for another model or another input.

    Raises:
        BundleError: it cannot be read, or was built for another model.
        ConfigError: it was built for another input.
    """
    from torchserve_fire.format.bundle_file import load_bundle
    from torchserve_fire.model.fit import check_model_fits, matching_input

    bundle = load_bundle(file)
    matching_input(config, bundle)
    check_model_fits(
        bundle,
        str(file),
        loaded,
        allow_other_weights=config.allow_other_weights,
    )
    return bundle
