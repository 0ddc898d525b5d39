"""What the tests of commands share."""

import math
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tiny import TinyFiles
from torchserve_fire_build.common import progress


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    """Put back what `main` sets for the process."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """No line on the progress of long steps: on a busy machine, short ones are long, too."""
    monkeypatch.setattr(progress, "LINE_SECONDS", math.inf)


@pytest.fixture
def tiny_model(tmp_path: Path, tiny: TinyFiles) -> list[str]:
    """The flags of the tiny image model; its class names stand beside the configuration."""
    (tmp_path / "model").mkdir()
    config = tiny.config(tmp_path / "model")
    config.with_name("index_to_name.json").write_text(tiny.names.read_text())
    return [
        *("--model-file", str(tiny.model_file)),
        *("--serialized-file", str(tiny.serialized_file)),
        *("--config-file", str(config)),
    ]
