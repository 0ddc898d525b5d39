"""The archive that every engine serves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.tiny import TinyFiles
from torchserve_fire_build.deployment.archive.package import ArchiveInputs, package_archive

MODEL = "small"


def make_archive(
    tiny: TinyFiles,
    folder: Path,
    delay: int = 50,
    *,
    name: str = MODEL,
    mode: str = "repair",
    workers: int = 1,
    trusted_keys: Sequence[str] = (),
    signing_key: Ed25519PrivateKey | None = None,
) -> Path:
    """Package the tiny model so that its bundle may be swapped by `folder / "bundles"`."""
    (folder / "bundles").mkdir()
    config = tiny.config(folder, mode=mode, delay=delay, workers=workers, trusted_keys=trusted_keys)
    values = yaml.safe_load(config.read_text())
    if mode != "off":
        values["handler"]["bundle_folder"] = str(folder / "bundles")
    config.write_text(yaml.safe_dump(values))
    inputs = ArchiveInputs(
        name,
        "1.0",
        tiny.model_file,
        tiny.serialized_file,
        config,
        None if mode == "off" else tiny.bundle,
        extra_files=str(tiny.names),
    )
    store = folder / "store"
    store.mkdir()
    return package_archive(inputs, store, signing_key=signing_key)
