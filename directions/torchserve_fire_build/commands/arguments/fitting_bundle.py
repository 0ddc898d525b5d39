"""Reading the bundle that goes with a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..refusal import Refusal

if TYPE_CHECKING:
    from torchserve_fire.format.bundle import Bundle

    from ...source.model_source import ModelSource


def load_fitting_bundle(file: Path, source: ModelSource) -> Bundle:
    """Read a bundle, and refuse one that was built for another model or another input.

    Raises:
        FireError: it cannot be read, or was built for another model or another input.
    """
    from torchserve_fire.format.bundle_file import load_bundle

    bundle = load_bundle(file)
    source.check_fits(bundle, str(file))
    return bundle


def bundle_in(source: ModelSource, archive: Path, otherwise: str) -> Path:
    """Return the bundle in the archive that a model comes from.

    Args:
        source: the model.
        archive: its archive.
        otherwise: what to do where the archive holds no bundle, and none is given.

    Raises:
        Refusal: it holds none.
    """
    from ...source.archive import bundle_of

    bundle = bundle_of(source)
    if bundle is None:
        raise Refusal(
            f"--archive {archive}: holds no direction bundle, expected --bundle, or {otherwise}"
        )
    return bundle
