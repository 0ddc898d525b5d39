from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from torchserve_fire.errors import FireError
from torchserve_fire_build.common.environment import EXTRAS, find_problem, require_extras

ROOT = Path(__file__).resolve().parents[3]
RUN = [sys.executable, "-m", "torchserve_fire_build.common.environment"]


def check_with(folder: Path, package: str, source: str) -> subprocess.CompletedProcess[str]:
    """Run the check where `package` is one that does `source` when it is imported."""
    (folder / f"{package}.py").write_text(source)
    path = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path}
    return subprocess.run(RUN, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_this_environment_is_right() -> None:
    done = subprocess.run(RUN, cwd=ROOT, capture_output=True, text=True, check=False)
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
        ("yaml", "raise ModuleNotFoundError('gone')", "pip install PyYAML"),
    ],
)
@pytest.mark.slow
def test_what_is_wrong_is_said_in_one_line(
    tmp_path: Path, package: str, source: str, expected: str
) -> None:
    done = check_with(tmp_path, package, source)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert expected in done.stderr


@pytest.mark.parametrize(
    ("module", "extra", "said"),
    [
        (
            "ts",
            "torchserve",
            "torchserve is not installed: install torchserve-fire with its extra 'torchserve'",
        ),
        ("ray", "ray", "ray is not installed: install torchserve-fire with its extra 'ray'"),
        ("model_archiver", "torchserve", "torch-model-archiver is not installed: "),
        (
            "matplotlib",
            "report",
            "matplotlib is not installed: install torchserve-fire with its extra 'report'",
        ),
    ],
)
def test_an_extra_that_lacks(
    monkeypatch: pytest.MonkeyPatch, module: str, extra: str, said: str
) -> None:
    require_extras(extra)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(FireError) as caught:
        require_extras(extra)
    assert str(caught.value).startswith(said)
    assert find_problem() == str(caught.value)
    assert find_problem(set(EXTRAS) - {extra}) is None
