from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


def check_with(folder: Path, package: str, source: str) -> subprocess.CompletedProcess[str]:
    """Run the check where `package` is one that does `source` when it is imported."""
    (folder / f"{package}.py").write_text(source)
    return subprocess.run(
        [sys.executable, "-m", "torchserve_fire_build.common.environment"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_this_environment_is_right() -> None:
    run = [sys.executable, "-m", "torchserve_fire_build.common.environment"]
    done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("package", "source", "expected"),
    [
        (
            "torchvision",
            "raise RuntimeError('operator torchvision::nms does not exist')",
            "torch and torchvision do not fit together (operator torchvision::nms does not exist)",
        ),
        ("torchvision", "raise ModuleNotFoundError('gone')", "pip install torchvision"),
        ("ts", "raise ModuleNotFoundError('gone')", "pip install torchserve"),
        ("yaml", "raise ModuleNotFoundError('gone')", "pip install PyYAML"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(
    tmp_path: Path, package: str, source: str, expected: str
) -> None:
    done = check_with(tmp_path, package, source)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert expected in done.stderr
