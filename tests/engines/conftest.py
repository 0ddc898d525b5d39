"""One server of each engine, over the tiny model in an archive that looks at a folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.tiny import TinyFiles

from .archive import MODEL, make_archive
from .engine import Engine
from .engines import ENGINES


@dataclass(frozen=True)
class Started:
    """A server that is ready.

    Attributes:
        engine: the server.
        archive: what it serves.
    """

    engine: Engine
    archive: Path


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
