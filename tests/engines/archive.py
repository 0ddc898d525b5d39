"""The archive that every engine serves."""

from __future__ import annotations

from pathlib import Path

import yaml

from tests.tiny import TinyFiles
from torchserve_fire_build.deployment.archive.package import ArchiveInputs, package_archive

MODEL = "tiny"


def make_archive(tiny: TinyFiles, folder: Path, delay: int = 50) -> Path:
    """Package the tiny model so that its bundle may be swapped by `folder / "bundles"`."""
    (folder / "bundles").mkdir()
    config = tiny.config(folder, delay=delay)
    values = yaml.safe_load(config.read_text())
    values["handler"]["bundle_folder"] = str(folder / "bundles")
    config.write_text(yaml.safe_dump(values))
    inputs = ArchiveInputs(
        MODEL,
        "1.0",
        tiny.model_file,
        tiny.serialized_file,
        config,
        tiny.bundle,
        extra_files=str(tiny.names),
    )
    store = folder / "store"
    store.mkdir()
    return package_archive(inputs, store)
