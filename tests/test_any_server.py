"""What docs/any-server.md shows runs as it stands there."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

import torchserve_fire
from tests.handler.archive import grey
from tests.handler.core.several_bundles import BLACK, several_bundles
from tests.handler.core.unpacked import make_unpacked, pack

PAGE = Path(__file__).parents[1] / "docs" / "any-server.md"
# A session with a real server takes it away.
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(torchserve_fire.__file__).parents[1])}
FIRST, SERVER, METRICS, PROMETHEUS = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the files that the page names."""
    archive = tmp_path / "archive"
    archive.mkdir()
    make_unpacked(archive)
    files = several_bundles(tmp_path / "bundles", archive / "w.pth")
    files["strong"].rename(tmp_path / "better.safetensors")
    pack(archive, tmp_path / "net-1.0.mar")
    (tmp_path / "cat.png").write_bytes(grey(0))
    return tmp_path


def run(text: str, folder: Path) -> str:
    command = [sys.executable, "-W", "ignore", "-c", text]
    done = subprocess.run(
        command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.slow
def test_the_first_steps(folder: Path):
    cat, bad, digest = run(FIRST, folder).splitlines()
    assert cat.startswith("200 {'1': 0.99")
    assert cat.endswith(" false")
    assert bad.startswith("400 not a readable image")
    assert re.fullmatch(r"[0-9a-f]{64}", digest)


@pytest.mark.slow
def test_the_metrics(folder: Path):
    told = run(METRICS + "model.answer([b''])\nmodel.close()\n", folder)
    assert "{'ModelName': 'm', 'ModelVersion': '1.0', 'Bundle': '" in told
    assert "('FireBadInputs', ('empty',)): 1" in told


READ = """
from urllib.request import urlopen
model.answer([b""])
model.close()
print(urlopen("http://127.0.0.1:9000/metrics").read().decode())
"""


def test_the_metrics_for_prometheus(folder: Path):
    told = run((PROMETHEUS + READ).replace("9000", str(free_port())), folder)
    digest = r"[0-9a-f]{64}"
    counted = rf'^FireBadInputs{{Bundle="{digest}",ModelName="m",.*Reason="empty"}} 1.0$'
    assert re.search(counted, told, re.M)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def test_the_server(folder: Path):
    port = free_port()
    assert "8000" in SERVER
    text = SERVER.replace("8000", str(port))
    server = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", text],
        cwd=folder,
        env=ENVIRONMENT,
        stderr=subprocess.DEVNULL,
    )
    try:
        status, headers, body = ask(port, grey(0), server)
        assert (status, headers["x-fire-flagged"]) == (200, "false")
        assert [body[str(k)] for k in range(3)] == pytest.approx(BLACK)
        status, headers, body = ask(port, grey(255), server)
        assert (status, headers["x-fire-repaired"]) == (200, "true")
        status, headers, body = ask(port, b"no image", server)
        assert (status, body["type"]) == (400, "InputError")
    finally:
        server.terminate()
        server.wait()


def ask(port: int, body: bytes, server: subprocess.Popen) -> tuple[int, dict, dict]:
    """Ask the server, which may not have started yet."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}", body)
    for _ in range(600):
        assert server.poll() is None
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
                return answer.status, dict(answer.headers), json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, dict(error.headers), json.load(error)
        except urllib.error.URLError:
            time.sleep(0.1)
    raise AssertionError("the server does not answer")
