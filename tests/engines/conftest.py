"""One server of each engine, over the tiny model in an archive that looks at a folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.tiny import TinyFiles
from torchserve_fire_build.deployment.archive.package import ArchiveInputs, package_archive

from .engine import Engine
from .kserve_engine import KServeEngine
from .ray_engine import RayEngine
from .torchserve_engine import TorchServeEngine

MODEL = "tiny"
ENGINES: dict[str, type[Engine]] = {
    "kserve": KServeEngine,
    "ray": RayEngine,
    "torchserve": TorchServeEngine,
}


@dataclass(frozen=True)
class Started:
    """A server that is ready.

    Attributes:
        engine: the server.
        archive: what it serves.
    """

    engine: Engine
    archive: Path


def make_archive(tiny: TinyFiles, folder: Path) -> Path:
    """Package the tiny model so that its bundle may be swapped by `folder / "bundles"`."""
    (folder / "bundles").mkdir()
    config = tiny.config(folder)
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


@pytest.fixture(
    scope="session",
    params=[
        pytest.param("kserve"),
        pytest.param("ray", marks=pytest.mark.slow),
        # Its own tests ask most of it, too.
        pytest.param("torchserve", marks=[pytest.mark.server, pytest.mark.slow]),
    ],
)
def started(
    request: pytest.FixtureRequest, tiny: TinyFiles, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Started]:
    folder = tmp_path_factory.mktemp(request.param)
    archive = make_archive(tiny, folder)
    engine = ENGINES[request.param](folder)
    try:
        engine.start(archive, MODEL)
        yield Started(engine, archive)
    finally:
        engine.stop()
