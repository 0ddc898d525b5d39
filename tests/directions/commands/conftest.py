"""What the tests of commands share."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tiny import TinyFiles


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    """Put back what `main` sets for the process."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


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
