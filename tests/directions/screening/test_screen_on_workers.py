"""Chunks by tasks, as workers get them: here in one process, on Ray where it is slow."""

import json
import os
import subprocess
import sys

import pytest

from tests.directions.backdoored import write_images
from tests.directions.killed_worker import killing_once
from tests.directions.unpacked_archives import write_archive
from tests.tiny import TinyFiles
from torchserve_fire.errors import FireError
from torchserve_fire.format.bundle_file import BUNDLE_FILE, load_bundle
from torchserve_fire_build.common.workers import ThisProcess
from torchserve_fire_build.screening import screen_on_workers
from torchserve_fire_build.screening.bundle_screening import screen_with_bundle
from torchserve_fire_build.screening.screen_on_workers import (
    BundleFile,
    ScreenOnWorkers,
    chunk_of,
)
from torchserve_fire_build.screening.screen_samples import screen_samples
from torchserve_fire_build.source.open_screened import open_screened
from torchserve_fire_build.source.source_files import SourceFiles

LABELS = [0, 1, 2, 3] * 40


def of_files(folder, tiny: TinyFiles):
    (folder / "model").mkdir()
    config = tiny.config(folder / "model")
    return SourceFiles(None, tiny.model_file, tiny.serialized_file, config, "cpu")


@pytest.fixture(params=["files", "archive"])
def files(request, tmp_path, tiny: TinyFiles):
    """The model's files; or an archive with a handler of its own, and a bundle in it."""
    if request.param == "files":
        return of_files(tmp_path, tiny)
    bundle = {BUNDLE_FILE: tiny.bundle.read_bytes()}
    archive = write_archive(tmp_path / "archive", tiny, files=bundle)
    return SourceFiles(archive, None, None, None, "cpu")


@pytest.fixture
def clean(tmp_path):
    return write_images(tmp_path / "clean", LABELS)


@pytest.fixture
def pictures(tmp_path):
    """150 clean pictures, and 42 triggered ones, of which one is there twice."""
    folder = write_images(tmp_path / "pictures", LABELS[:150], flat=True, prefix="clean", seed=2)
    write_images(folder, [1, 2, 3] * 14, flat=True, triggered=True, seed=1)
    (folder / "again.png").write_bytes((folder / "clean001.png").read_bytes())
    return folder


@pytest.fixture
def by_tasks(files, monkeypatch):
    """Chunks of one batch, so that there are four."""
    monkeypatch.setattr(screen_on_workers, "CHUNK", 64)
    source = files.open()
    chunk = chunk_of(source.loaded.model, source.describe_input())
    assert chunk == 64
    return ScreenOnWorkers(ThisProcess(), files, chunk)


def test_with_clean_samples_as_in_one_process_to_the_bit(files, clean, pictures, by_tasks):
    source = files.open()
    model, samples = source.loaded.model, open_screened([pictures], source)
    known = source.open_samples(clean)
    whole = screen_samples(model, known, samples)
    assert (whole.found, whole.suspects, len(whole.names)) == (True, [0], 192)
    assert screen_samples(model, known, samples, by_tasks).to_json() == whole.to_json()


def test_with_a_bundle_as_in_one_process_to_the_bit(tiny, files, pictures, by_tasks):
    source = files.open()
    model, samples = source.loaded.model, open_screened([pictures], source)
    bundle = load_bundle(tiny.bundle)
    by = BundleFile(None if files.archive else tiny.bundle, allow_other_weights=True)
    whole = screen_with_bundle(model, bundle, samples, allow_other_weights=True)
    assert sum(verdict.flagged for verdict in whole.verdicts) == 42
    shared = screen_with_bundle(
        model,
        bundle,
        samples,
        elsewhere=lambda progress: by_tasks.verdicts(samples.paths, by, progress),
    )
    assert shared.to_json() == whole.to_json()


def test_a_file_that_is_no_picture_is_told_as_ever(files, clean, pictures, by_tasks):
    source = files.open()
    samples = open_screened([pictures], source)
    (pictures / "clean007.png").write_bytes(b"no picture")
    with pytest.raises(FireError, match=r"clean007\.png: "):
        screen_samples(source.loaded.model, source.open_samples(clean), samples, by_tasks)


@pytest.mark.slow
@pytest.mark.parametrize("judge", ["clean", "bundle"])
def test_on_ray_where_a_worker_is_killed(tmp_path, tiny, clean, pictures, judge):
    files = of_files(tmp_path, tiny)
    deadly, net = tmp_path / "deadly", tmp_path / "tiny_net.py"
    net.write_text(killing_once(files.model_file.read_text(), deadly))
    by = ["--clean", clean] if judge == "clean" else ["--bundle", tiny.bundle]
    found = []
    for name, flags in (("here", []), ("ray", ["--engine", "ray", "--workers", "2"])):
        deadly.touch()
        command = [sys.executable, "-m", "torchserve_fire_build.commands.main", "screen"]
        command += ["--model-file", net, "--serialized-file", files.serialized_file]
        command += ["--config-file", files.config_file, *by, "--json", tmp_path / f"{name}.json"]
        done = subprocess.run(
            [*map(str, command), str(pictures), *flags],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (1, "")
        found.append(json.loads((tmp_path / f"{name}.json").read_text()))
        # Killed in a worker alone.
        assert deadly.exists() == (name == "here")
    assert found[0] == found[1]
