"""The scripts of the checkout, as far as they can be run without installing anything."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"

PYTHON = """#!/bin/sh
exec {python} -c 'import sys; sys.version_info = {version}; exec(sys.argv[1])' "$2"
"""


def found(folder: Path, versions: dict[str, str], **environment: str) -> tuple[int, str, str]:
    """What find_python prints where the PATH has Pythons that say they are of these versions."""
    for name, version in versions.items():
        path = folder / name
        path.write_text(PYTHON.format(python=sys.executable, version=version))
        path.chmod(0o755)
    done = subprocess.run(
        ["/bin/bash", "-c", f"source {SCRIPTS / 'find_python.sh'}; find_python"],
        env={"PATH": str(folder), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout.strip(), done.stderr


@pytest.mark.parametrize(
    ("versions", "taken"),
    [
        ({"python3": "(3, 10, 1)", "python3.13": "(3, 13, 0)"}, "python3"),
        ({"python3": "(3, 9, 0)", "python3.12": "(3, 12, 0)"}, "python3.12"),
        ({"python3": "(3, 14, 0)", "python3.11": "(3, 11, 0)"}, "python3.11"),
        ({"python3": "(3, 14, 0)"}, "python3"),
        ({"python3": "(3, 9, 0)", "python3.15": "(3, 15, 0)"}, "python3.15"),
    ],
)
def test_any_python_from_3_10_on_is_taken(
    tmp_path: Path, versions: dict[str, str], taken: str
) -> None:
    assert found(tmp_path, versions) == (0, str(tmp_path / taken), "")


def test_the_python_that_is_named_is_taken(tmp_path: Path) -> None:
    versions = {"python3": "(3, 12, 0)", "mine": "(3, 16, 0)"}
    assert found(tmp_path, versions, PYTHON="mine")[1] == str(tmp_path / "mine")


def test_an_older_python_is_refused(tmp_path: Path) -> None:
    status, out, err = found(tmp_path, {"python3": "(3, 9, 19)"})
    assert (status, out) == (2, "")
    assert err.startswith("Python 3.10 or newer with its venv module is needed")


@pytest.mark.parametrize(("flags", "ran"), [([], 1), (["--all"], 2), (["-m", "slow"], 1)])
@pytest.mark.slow
def test_slow_tests_are_run_where_they_are_asked_for(
    tmp_path: Path, flags: list[str], ran: int
) -> None:
    ours = Path(__file__).with_name("conftest.py")
    (tmp_path / "conftest.py").write_text(
        "from tests.conftest import pytest_addoption, pytest_collection_modifyitems\n"
    )
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = slow: takes long\n")
    (tmp_path / "test_both.py").write_text(
        "import pytest\n\ndef test_quick(): pass\n\n@pytest.mark.slow\ndef test_slow(): pass\n"
    )
    path = os.pathsep.join([str(ours.parents[1]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *flags],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert f"{ran} passed" in done.stdout, done.stdout + done.stderr
