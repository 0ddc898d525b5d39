"""The `serve` command, as a person or a service manager runs it.

Of TorchServe's process alone; tests/engines/test_kserve_command.py has KServe's.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import psutil
import pytest
import requests

from tests.server.printed import lines_until
from tests.tiny import image
from torchserve_fire.format.bundle_file import BUNDLE_FILE
from torchserve_fire_build.deployment.server.properties import (
    find_config,
    read_properties,
    with_free_ports,
)

pytestmark = pytest.mark.server


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "own.properties"
    settings = with_free_ports(read_properties(find_config()))
    path.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
    return path


def serve(folder: Path, config: Path, store: Path, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "torchserve_fire_build.commands.main", "serve"]
    command += ["--ts-config", str(config), "--model-store", str(store), *more]
    return subprocess.Popen(
        command,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_it_serves_until_it_is_stopped_and_leaves_no_process(
    tmp_path: Path, config: Path, store: Path
) -> None:
    # Without a name for it, it has the one that it was packed with.
    process = serve(tmp_path, config, store, "--models", "tiny-1.0.mar")
    try:
        lines = lines_until(process, "Ctrl-C or SIGTERM stops it.\n")
        assert process.poll() is None, process.communicate()
        family = psutil.Process(process.pid).children(recursive=True)
        assert any("java" in each.name() for each in family)
        inference = next(line.split()[1] for line in lines if line.startswith("inference:"))
        key_file = Path(next(line.split()[1] for line in lines if line.startswith("tokens:")))
        assert key_file == tmp_path / "key_file.json"
        assert key_file.stat().st_mode & 0o077 == 0
        token = json.loads(key_file.read_text())["inference"]["key"]
        headers = {"Authorization": f"Bearer {token}"}
        assert requests.get(f"{inference}/ping", headers=headers, timeout=30).status_code == 200
        answer = requests.post(
            f"{inference}/predictions/tiny", data=image(1), headers=headers, timeout=30
        )
        assert answer.status_code == 200
    finally:
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said == "torchserve-fire serve: interrupted\n"
    assert psutil.wait_procs(family, timeout=10)[1] == []
    assert not key_file.exists()


@pytest.mark.slow
def test_a_model_that_cannot_repair_ends_it_with_the_reason(
    tmp_path: Path, config: Path, store: Path
) -> None:
    broken = tmp_path / "store"
    broken.mkdir()
    with (
        zipfile.ZipFile(store / "tiny-1.0.mar") as source,
        zipfile.ZipFile(broken / "tiny-1.0.mar", "w") as destination,
    ):
        for name in source.namelist():
            if name != BUNDLE_FILE:
                destination.writestr(name, source.read(name))
    process = serve(tmp_path, config, broken, "--models", "tiny=tiny-1.0.mar")
    _, said = process.communicate(timeout=120)
    assert process.returncode == 64
    assert len(said.splitlines()) == 1
    assert "did not load its model: tiny 1.0: " in said
    assert BUNDLE_FILE in said


@pytest.mark.slow
def test_interrupted_while_it_starts_it_leaves_no_process(
    tmp_path: Path, config: Path, store: Path
) -> None:
    process = serve(tmp_path, config, store, "--models", "tiny=tiny-1.0.mar")
    family = []
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "starting TorchServe ...\n"
        family = psutil.Process(process.pid).children(recursive=True)
        assert family
    finally:
        # As Ctrl-C does; SIGINT itself is ignored where the tests run in the background.
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 130
    assert psutil.wait_procs(family, timeout=10)[1] == []
