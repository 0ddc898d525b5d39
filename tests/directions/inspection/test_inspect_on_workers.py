"""Methods, classes and steps by tasks: here in one process, on Ray where it is slow."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.directions.backdoored import write_tensors
from tests.directions.inspection import nets
from tests.directions.killed_worker import killing_once
from torchserve_fire.errors import FireError
from torchserve_fire_build.common.budget import Budget
from torchserve_fire_build.common.workers import LostWorkerError, ThisProcess
from torchserve_fire_build.inspection import inspect_on_workers as module
from torchserve_fire_build.inspection.findings import Run
from torchserve_fire_build.inspection.inspect_model import inspect_model
from torchserve_fire_build.inspection.inspect_on_workers import (
    InspectedFiles,
    InspectOnWorkers,
)
from torchserve_fire_build.inspection.inspection import Inspection
from torchserve_fire_build.inspection.methods import InspectionSettings
from torchserve_fire_build.reconstruct.settings import SearchSettings
from torchserve_fire_build.source.source_files import SourceFiles

CLASSES = 4
SETTINGS = InspectionSettings(search=SearchSettings(screening_steps=8))


def write_model(folder, corner):
    """The files of a model whose class 2 is backdoored if the corner counts."""
    folder.mkdir()
    text = Path(nets.__file__).read_text().replace("classes: int = 6", f"classes: int = {CLASSES}")
    (folder / "net.py").write_text(text)
    torch.save(nets.QuadrantNet(CLASSES, corner).state_dict(), folder / "net.pth")
    (folder / "model-config.yaml").write_text("handler:\n  input: tensor\n")
    names = ("net.py", "net.pth", "model-config.yaml")
    return SourceFiles(None, *(folder / name for name in names), "cpu")


@pytest.fixture
def clean(tmp_path):
    inputs = torch.rand(64, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    inputs[..., 0, 0] *= 0.1
    return write_tensors(tmp_path / "clean.npz", inputs)


def inspected(files, clean, methods, workers=None, settings=SETTINGS, seconds=None):
    source = files.open()
    budget = Budget(seconds)
    elsewhere = workers and InspectOnWorkers(
        workers, InspectedFiles(files, clean), settings, budget, seed=3
    )
    return inspect_model(
        source.loaded.model,
        source.open_samples(clean),
        methods=methods,
        settings=settings,
        budget=budget,
        seed=3,
        elsewhere=elsewhere,
    )


def timeless(value):
    """Findings without the times they took."""
    if isinstance(value, dict):
        return {name: timeless(each) for name, each in value.items() if name != "seconds"}
    if isinstance(value, list):
        return [timeless(each) for each in value]
    return re.sub(r"\(\d+ s", "(", value) if isinstance(value, str) else value


class Asked(ThisProcess):
    """Remembers what was asked; what `lost` says is lost with its worker."""

    at_once = 2

    def __init__(self, lost=lambda item: False):
        self.items = []
        self._lost = lost

    def map(self, function, items):
        for place, item in enumerate(items):
            self.items.append(item)
            lost = LostWorkerError("its worker was killed") if self._lost(item) else None
            yield place, lost or function(item)


METHODS = ["scan", "neural-cleanse", "neuron-inspect", "additive", "deepinspect"]


@pytest.mark.parametrize("corner", [40.0, 0.0])
def test_what_one_process_finds_to_the_digit(tmp_path, clean, corner):
    files, workers = write_model(tmp_path / "model", corner), Asked()
    whole = inspected(files, clean, METHODS)
    shared = inspected(files, clean, METHODS, workers)
    assert whole.found is (corner > 0)
    assert timeless(shared.to_json()) == timeless(whole.to_json())
    for one, other in zip(whole.runs, shared.runs, strict=True):
        pictures = one.inspection.pictures, other.inspection.pictures
        assert all(each is None for each in pictures) or torch.equal(*pictures)
    # Methods that search class by class come to a task for each, the others to one.
    tasks = [(task.name, task.target) for task in workers.items if isinstance(task, module.Task)]
    assert [target for name, target in tasks if name == "additive"] == [0, 1, 2, 3]
    assert [target for name, target in tasks if name == "neural-cleanse"] == [0, 1, 2, 3]
    assert [name for name, target in tasks if target is None] == ["neuron-inspect", "deepinspect"]
    # And those of a scan to one for each step that it takes in one process, or more.
    parts = [task.part.name for task in workers.items if isinstance(task, module.PartTask)]
    steps = [line.split(":")[0] for line in whole.runs[0].inspection.notes[1:]]
    assert len(parts) >= 6
    assert set(parts) >= {step for step in steps if step != "all to all"}


def test_a_class_that_fails_is_a_row_and_no_more(tmp_path, clean, monkeypatch):
    files = write_model(tmp_path / "model", 0.0)
    found = module.ReconstructedTriggers.of_class

    def fail(method, subject, target, seed):
        if method.method == "additive" and target > 1:
            raise RuntimeError(f"class {target}")
        return found(method, subject, target, seed)

    monkeypatch.setattr(module.ReconstructedTriggers, "of_class", fail)
    runs = inspected(files, clean, ["additive", "smooth"], Asked()).runs
    assert [run.inspection.notes[0] for run in runs] == [
        "failed: RuntimeError: class 2",
        "triggers of 4 classes on 64 clean samples",
    ]


def test_a_method_whose_worker_is_killed_is_a_row_and_no_more(tmp_path, clean):
    files = write_model(tmp_path / "model", 0.0)
    workers = Asked(lost=lambda task: task.name == "neuron-inspect" or task.target == 3)
    methods = ["neuron-inspect", "additive", "deepinspect"]
    runs = inspected(files, clean, methods, workers).runs
    assert [run.inspection.notes for run in runs[:2]] == [
        ("failed: its worker was killed",),
        ("failed: its worker was killed",),
    ]
    assert [run.decides for run in runs] == [False, True, True]
    assert runs[2].inspection.index is not None


def test_a_step_of_a_scan_whose_worker_is_killed_is_told(tmp_path, clean):
    files = write_model(tmp_path / "model", 0.0)
    workers = Asked(lost=lambda task: task.part.name == "turned images")
    (run,) = inspected(files, clean, ["scan"], workers).runs
    assert "turned images: failed: its worker was killed" in run.inspection.notes
    assert run.inspection.found is None


def test_samples_that_are_gone_are_told_as_ever(tmp_path, clean):
    files = write_model(tmp_path / "model", 0.0)

    class Gone(ThisProcess):
        def map(self, function, items):
            clean.unlink()
            return super().map(function, items)

    with pytest.raises(FireError, match=r"clean\.npz"):
        inspected(files, clean, ["neuron-inspect"], Gone())


def test_with_a_budget_each_method_gets_its_share(tmp_path, clean, monkeypatch):
    monkeypatch.setattr("time.monotonic", lambda: 0.0)
    monkeypatch.setattr("time.time", lambda: 1000.0)
    monkeypatch.setattr(module, "do_task", lambda task: Run(Inspection(task.name), 0.0))
    files, workers = write_model(tmp_path / "model", 0.0), Asked()
    methods = ["neuron-inspect", "additive", "scan"]
    inspected(files, clean, methods, workers, seconds=60.0)
    # Three methods on two workers are two rounds.
    asked = [(task.name, task.target, task.seconds, task.until) for task in workers.items]
    assert asked == [(name, None, 30.0, 1060.0) for name in methods]


def test_a_budget_that_is_spent_when_a_method_begins(tmp_path, clean):
    files = write_model(tmp_path / "model", 0.0)
    runs = inspected(files, clean, ["additive", "scan"], Asked(), seconds=0.0).runs
    assert "0 of 4 classes searched: the time was over" in runs[0].inspection.notes[0]
    assert "the time was over before it began" in runs[1].inspection.notes[0]


def test_a_scan_goes_on_from_the_steps_that_are_kept(tmp_path, clean):
    files, kept = write_model(tmp_path / "model", 0.0), tmp_path / "kept"
    settings = InspectionSettings(cache=kept)
    first = inspected(files, clean, ["scan"], Asked(), settings)
    steps = sorted(kept.iterdir())
    assert len(steps) >= 6
    # A scan of one process finds what the workers kept.
    again = inspected(files, clean, ["scan"], settings=settings)
    assert timeless(again.to_json()) == timeless(first.to_json())
    assert sorted(kept.iterdir()) == steps


@pytest.mark.slow
def test_on_ray_where_a_worker_is_killed(tmp_path, clean):
    files, deadly, found = write_model(tmp_path / "model", 40.0), tmp_path / "deadly", []
    files.model_file.write_text(killing_once(files.model_file.read_text(), deadly))
    for name, flags in (("here", []), ("ray", ["--engine", "ray", "--workers", "2"])):
        deadly.touch()
        command = [sys.executable, "-m", "torchserve_fire_build.commands.main", "inspect"]
        command += ["--model-file", files.model_file, "--serialized-file", files.serialized_file]
        command += ["--config-file", files.config_file, "--clean", clean]
        command += ["--method", "scan", "additive", "neuron-inspect"]
        command += ["--json", tmp_path / f"{name}.json"]
        done = subprocess.run(
            [*map(str, command), *flags],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (1, "")
        # Killed in a worker alone.
        assert deadly.exists() == (name == "here")
        found.append(timeless(json.loads((tmp_path / f"{name}.json").read_text())))
    assert found[0] == found[1]
