"""Servers of each engine, and one over the tiny model in an archive that looks at a folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.server.table_model import TableFiles
from tests.tiny import TinyFiles

from .archive import MODEL, make_archive
from .engine import Engine
from .engines import ENGINES
from .torchserve_engine import TorchServeEngine

NewEngine = Callable[[Path], Engine]
Serving = Callable[[Path, str, Path], AbstractContextManager[Engine]]


@dataclass(frozen=True)
class Started:
    """A server that is ready.

    Attributes:
        engine: the server.
        archive: what it serves.
    """

    engine: Engine
    archive: Path


@dataclass(frozen=True)
class Table:
    """A server of the model of rows of a table.

    Attributes:
        engine: the server.
        files: the model's.
    """

    engine: Engine
    files: TableFiles


@pytest.fixture(
    scope="session",
    params=[
        pytest.param("kserve", marks=pytest.mark.slow),
        pytest.param("ray", marks=pytest.mark.slow),
        pytest.param("torchserve", marks=pytest.mark.server),
    ],
)
def engine_name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def new_engine(engine_name: str, request: pytest.FixtureRequest) -> NewEngine:
    """What returns a server that is not started; whoever calls it stops it."""
    if engine_name == "torchserve":
        server = request.getfixturevalue("server")
        return lambda folder: TorchServeEngine(folder, server)
    return ENGINES[engine_name]


@pytest.fixture(scope="session")
def serving(new_engine: NewEngine) -> Serving:
    """What serves an archive under a name, with a folder to write to, within a block."""

    @contextmanager
    def serve(archive: Path, model: str, folder: Path) -> Iterator[Engine]:
        engine = new_engine(folder)
        try:
            engine.start(archive, model)
            yield engine
        finally:
            engine.stop()

    return serve


@pytest.fixture(scope="session")
def started(
    serving: Serving, tiny: TinyFiles, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Started]:
    folder = tmp_path_factory.mktemp("started")
    archive = make_archive(tiny, folder)
    with serving(archive, MODEL, folder) as engine:
        yield Started(engine, archive)


@pytest.fixture(scope="session")
def table(serving: Serving, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Table]:
    folder = tmp_path_factory.mktemp("rows")
    # Beside the one of tests/server, which may be on the same server.
    files = TableFiles(folder, "shared-rows")
    with serving(files.packed(folder), files.name, folder) as engine:
        yield Table(engine, files)
