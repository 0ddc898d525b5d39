"""What an archive says of batches."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.handler.core.unpacked import make_unpacked
from torchserve_fire import open_model
from torchserve_fire.core.batching import ONE_BY_ONE, Batching, read_batching
from torchserve_fire.errors import ConfigError


def config(folder: Path, text: str) -> Path:
    path = folder / "model-config.yaml"
    path.write_text(text)
    return path


def test_what_stands_there(tmp_path: Path) -> None:
    file = config(tmp_path, "batchSize: 8\nmaxBatchDelay: 50\njobQueueSize: 7\nminWorkers: 2\n")
    assert read_batching(file) == Batching(8, 0.05, 7)


def test_what_torchserve_does_where_nothing_stands_there(tmp_path: Path) -> None:
    assert read_batching(config(tmp_path, "handler: {}\n")) == ONE_BY_ONE == Batching(1, 0.1, 100)


@pytest.mark.parametrize(
    "line", ["batchSize: 0", "batchSize: two", "maxBatchDelay: -1", "jobQueueSize: 0"]
)
def test_what_is_no_number_of_its_kind(tmp_path: Path, line: str) -> None:
    with pytest.raises(ConfigError, match=line.partition(":")[0]):
        read_batching(config(tmp_path, line))


def test_an_open_archive_tells_it(tmp_path: Path) -> None:
    make_unpacked(tmp_path)
    file = tmp_path / "model-config.yaml"
    file.write_text(f"{file.read_text()}batchSize: 3\n")
    with open_model(tmp_path) as model:
        assert model.batching == Batching(3)
