"""Chunks and folds by tasks, as workers get them: here in one process, on Ray where it is slow."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.directions.backdoored import write_images
from tests.directions.unpacked_archives import write_archive
from tests.tiny import TinyFiles
from torchserve_fire.errors import FireError
from torchserve_fire.format.bundle_file import bundle_to_parts
from torchserve_fire_build.building.from_pool import build_from_pool
from torchserve_fire_build.building.pool_on_workers import PoolOnWorkers
from torchserve_fire_build.common.workers import ThisProcess
from torchserve_fire_build.pool import read_in_chunks
from torchserve_fire_build.source.source_files import SourceFiles

LABELS = [0, 1, 2, 3] * 40


@pytest.fixture
def files(tmp_path, tiny: TinyFiles):
    return of_files(tmp_path, tiny)


def of_files(folder, tiny):
    (folder / "model").mkdir()
    config = tiny.config(folder / "model")
    return SourceFiles(None, tiny.model_file, tiny.serialized_file, config, "cpu")


@pytest.fixture
def pool(tmp_path):
    folder = write_images(tmp_path / "pool", LABELS, flat=True, prefix="clean")
    return write_images(folder, [1, 2, 3] * 14, flat=True, triggered=True, seed=1)


def of_archive(folder, tiny):
    archive = write_archive(folder / "archive", tiny)
    return SourceFiles(archive, None, None, None, "cpu")


@pytest.mark.slow
@pytest.mark.parametrize("of", [of_files, of_archive])
def test_the_bundle_of_one_process_to_the_bit(tmp_path, tiny, of, pool, monkeypatch):
    files = of(tmp_path, tiny)
    source = files.open()
    samples = source.open_samples(pool)
    whole = build_from_pool(source.loaded, samples)
    monkeypatch.setattr(read_in_chunks, "CHUNK", 128)
    by_tasks = PoolOnWorkers(ThisProcess(), files, samples.paths)
    shared = build_from_pool(source.loaded, samples, elsewhere=by_tasks)
    assert whole.bundle.evidence["triggered"] == 42
    (first, said), (second, said_of_tasks) = (
        bundle_to_parts(built.bundle) for built in (whole, shared)
    )
    assert said == said_of_tasks
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_file_that_is_no_picture_is_told_as_ever(files, pool):
    source = files.open()
    samples = source.open_samples(pool)
    (pool / "clean007.png").write_bytes(b"no picture")
    by_tasks = PoolOnWorkers(ThisProcess(), files, samples.paths)
    with pytest.raises(FireError, match=r"clean007\.png: "):
        build_from_pool(source.loaded, samples, elsewhere=by_tasks)


@pytest.mark.slow
def test_on_ray(tmp_path, files, pool):
    written = []
    for name, flags in (("here", []), ("ray", ["--engine", "ray", "--workers", "2"])):
        bundle = tmp_path / f"{name}.safetensors"
        command = [sys.executable, "-m", "torchserve_fire_build.commands.main", "build"]
        command += ["--model-file", files.model_file, "--serialized-file", files.serialized_file]
        command += ["--config-file", files.config_file, "--pool", pool, "--output", bundle]
        done = subprocess.run(
            [*map(str, command), *flags],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        written.append(Path(bundle).read_bytes())
    assert written[0] == written[1]
