"""The tiny model of rows of a table: its files, its archive, and that on a running server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import yaml

from tests.handler.archive import MODEL_FILE, make_bundle, state_dict
from tests.handler.tables import DESCRIBED, TABLE
from tests.server.registered import BOUNDS
from torchserve_fire.format.bundle_file import save_bundle
from torchserve_fire.format.correction_forms import Shift
from torchserve_fire_build.deployment.archive.package import ArchiveInputs, package_archive
from torchserve_fire_build.deployment.server.torchserve import TorchServe

NAME = "rows"


@dataclass(frozen=True)
class TableFiles:
    """The files of the model, which is served under a name."""

    folder: Path
    name: str = NAME

    @property
    def config(self) -> Path:
        return self.folder / "model-config.yaml"

    @property
    def kept(self) -> Path:
        return self.folder / "quarantine" / self.name

    def write(self) -> None:
        (self.folder / "net.py").write_text(MODEL_FILE)
        torch.save(state_dict(), self.folder / "w.pth")
        handler = {**TABLE, "quarantine": {"folder": str(self.folder / "quarantine")}}
        settings = {"minWorkers": 1, "maxWorkers": 1, "batchSize": 8, "maxBatchDelay": 50}
        self.config.write_text(yaml.safe_dump({**settings, "handler": handler}, sort_keys=False))

    def packed(self, store: Path) -> Path:
        """Write the files and the archive."""
        self.write()
        inputs = ArchiveInputs(
            self.name,
            "1.0",
            self.folder / "net.py",
            self.folder / "w.pth",
            self.config,
            self.bundle(1.0),
        )
        return package_archive(inputs, store)

    def bundle(self, strength: float) -> Path:
        """Write a bundle that repairs a row with the sum 11 to 11 less 9 times the strength."""
        file = self.folder / f"bundle-{strength}.safetensors"
        bundle = replace(make_bundle(self.folder / "w.pth", "tensor"), input=DESCRIBED)
        (layer,) = bundle.layers
        shift = Shift(torch.full((12,), 0.75), strength)
        save_bundle(replace(bundle, layers=(replace(layer, correction=shift),)), file)
        return file


@contextmanager
def registered_table(server: TorchServe, folder: Path) -> Iterator[TableFiles]:
    """Serve the model within the block."""
    files = TableFiles(folder)
    archive = files.packed(server.model_store)
    server.management.register(archive.name, NAME, workers=1, **BOUNDS)
    try:
        yield files
    finally:
        default = server.management.describe(NAME).version
        for version in [each.version for each in server.management.describe_all(NAME)]:
            if version != default:
                server.management.unregister(NAME, version)
        server.management.unregister(NAME, default)
        for path in server.model_store.glob(f"{NAME}-*"):
            path.unlink()
