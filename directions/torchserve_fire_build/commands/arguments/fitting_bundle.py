"""Reading the bundle that goes with a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torchserve_fire.format.bundle import Bundle
    from torchserve_fire.model.config import HandlerConfig
    from torchserve_fire.model.load_model import LoadedModel


def load_fitting_bundle(file: Path, config: HandlerConfig, loaded: LoadedModel) -> Bundle:
    """Read a bundle, and refuse one that was built for another model or another input.

    Raises:
        BundleError: it cannot be read, or was built for another model.
        ConfigError: it was built for another input.
    """
    from torchserve_fire.format.bundle_file import load_bundle
    from torchserve_fire.model.fit import check_fits

    bundle = load_bundle(file)
    check_fits(bundle, str(file), loaded, config)
    return bundle
