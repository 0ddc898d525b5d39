"""Files of the user's own that are called as this project's folders are: nothing imports them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.directions.backdoored import write_images
from torchserve_fire_build.commands import COMMANDS

NAMES = [command.__name__.rpartition(".")[2].replace("_", "-") for command in COMMANDS]
LABELS = [0, 1, 2, 3] * 10

THEIR_TEST = """
import pytest
import torchserve_fire
import torchserve_fire_build


def test_theirs():
    assert torchserve_fire.load_bundle
    with pytest.raises(RuntimeError, match="theirs"):
        import handler
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder that a user works in, with modules that nobody may import."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    for name in ("handler", "directions"):
        (folder / f"{name}.py").write_text('raise RuntimeError("theirs")\n')
    return folder


def run(folder: Path, *words: object) -> subprocess.CompletedProcess[str]:
    """Run Python with the folder as the first place that it imports from."""
    path = os.pathsep.join([".", os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, *map(str, words)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


def command(folder: Path, *words: object) -> tuple[int, str, str]:
    done = run(folder, "-m", "torchserve_fire_build.commands.main", *words)
    return done.returncode, done.stdout, done.stderr


def test_both_packages_are_imported(folder: Path) -> None:
    done = run(
        folder, "-c", "import torchserve_fire, torchserve_fire_build; torchserve_fire.attach"
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.slow
def test_help_and_a_refusal(folder: Path, name: str) -> None:
    status, out, err = command(folder, name, "--help")
    assert (status, err) == (0, "")
    assert out.startswith(f"usage: torchserve-fire {name}")
    status, out, err = command(folder, name, "--no-such-flag")
    assert (status, out) == (64, "")
    assert err.startswith(f"torchserve-fire {name}: --no-such-flag: no such flag")


@pytest.mark.slow
def test_from_build_to_package(folder: Path, tiny_model: list[str]) -> None:
    clean = write_images(folder / "clean", LABELS)
    samples = ["--clean", clean]
    samples += ["--triggered", write_images(folder / "triggered", LABELS, triggered=True)]
    for words in (
        ["build", *tiny_model, *samples, "--output", "b.safetensors"],
        ["evaluate", *tiny_model, *samples, "--bundle", "b.safetensors"],
        ["inspect", *tiny_model, "--clean", clean, "--method", "neuron-inspect"],
        [
            *("package", *tiny_model, "--bundle", "b.safetensors"),
            *("--model-name", "tiny", "--version", "1.0", "--export-path", "."),
        ],
    ):
        status, out, err = command(folder, *words)
        # A hint decides nothing, so `inspect` could not tell.
        assert (status, err) == (2 if words[0] == "inspect" else 0, "")
        assert out
    assert (folder / "tiny-1.0.mar").is_file()


@pytest.mark.slow
def test_their_own_tests(folder: Path) -> None:
    (folder / "test_theirs.py").write_text(THEIR_TEST)
    done = run(folder, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_theirs.py")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
