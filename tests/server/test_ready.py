"""The readiness probe, on a real TorchServe whose /ping goes on saying Healthy.

Of TorchServe alone: the probe asks its management API. What other servers say of their readiness is
asked in tests/engines/test_serving.py.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import requests

from tests.server.registered import BOUNDS
from tests.tiny import TinyFiles, image
from torchserve_fire.format.bundle_file import BUNDLE_FILE, load_bundle
from torchserve_fire_build.commands.main import main
from torchserve_fire_build.deployment.server.torchserve import TorchServe

pytestmark = pytest.mark.server


def ready(server: TorchServe, model: str, *more: str) -> int:
    command = ["ready", "--model-name", model, "--management", server.addresses.management]
    command += ["--inference", server.addresses.inference, "--key-file", str(server.key_file)]
    return main([*command, "--timeout", "30", *more])


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("sample") / "image.png"
    path.write_bytes(image(1))
    return str(path)


def test_a_repaired_model_is_ready(
    server: TorchServe, tiny: TinyFiles, sample: str, capsys: pytest.CaptureFixture[str]
) -> None:
    digest = load_bundle(tiny.bundle).digest
    assert ready(server, "tiny") == 0
    assert ready(server, "tiny", "--input", sample, "--bundle", digest) == 0
    assert ready(server, "tiny", "--version", "1.0", "--bundle", str(tiny.bundle)) == 0
    told = f"tiny answers with bundle {digest}"
    assert capsys.readouterr().out.splitlines() == [
        f"{told}, in mode repair",
        told,
        f"{told}, in mode repair",
    ]


@pytest.mark.parametrize(
    ("model", "more", "reason"),
    [
        ("plain", (), "answered without repair: no header x-fire-bundle"),
        ("nobody", (), "torchserve-fire status shows what is served"),
        ("tiny", ("--version", "9"), "status 404"),
        ("tiny", ("--bundle", "0" * 64), f"expected {'0' * 64}"),
        ("tiny", ("--inference", "http://127.0.0.1:9"), "refused: --inference names"),
        ("tiny", ("--management", "http://127.0.0.1:9"), "is the server running"),
    ],
)
def test_what_is_not_ready_is_told_in_one_line(
    server: TorchServe,
    model: str,
    more: tuple[str, ...],
    reason: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert ready(server, model, *more) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("torchserve-fire ready: not ready: ")
    assert err.count("\n") == 1
    assert reason in err


def test_a_bad_input_file_is_not_taken_for_a_server_that_is_not_ready(
    server: TorchServe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ready(server, "tiny", "--input", str(tmp_path / "no.png")) == 64
    assert "no.png: no such file" in capsys.readouterr().err


@pytest.mark.parametrize("which", ["--inference-token", "--token"])
def test_a_refused_token_is_not_taken_for_a_server_that_is_not_ready(
    server: TorchServe, which: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ready(server, "tiny", which, "wrong") == 64
    said = capsys.readouterr().err
    assert "TorchServe refused the token" in said
    assert said.count("\n") == 1


@pytest.fixture
def crashing(server: TorchServe) -> Iterator[str]:
    """A model whose workers can no longer load its bundle."""
    name = "crashing"
    server.management.register("tiny-1.0.mar", name, workers=1, **{**BOUNDS, "batch_size": 1})
    (pid,) = server.management.describe(name).workers
    unpacked = Path(psutil.Process(pid).cwd())
    bundle = (unpacked / BUNDLE_FILE).rename(unpacked / "away")
    os.kill(pid, signal.SIGKILL)
    yield name
    bundle.rename(unpacked / BUNDLE_FILE)
    deadline = time.monotonic() + 120
    while ready(server, name) != 0:
        assert time.monotonic() < deadline
        time.sleep(0.5)
    server.management.unregister(name, "1.0")


@pytest.mark.slow
def test_workers_that_crash_while_loading_are_not_ready_though_ping_is_healthy(
    server: TorchServe, crashing: str, sample: str, capsys: pytest.CaptureFixture[str]
) -> None:
    headers = {"Authorization": f"Bearer {server.tokens.inference}"}
    url = f"{server.addresses.inference}/ping"
    for _ in range(3):
        assert ready(server, crashing, "--input", sample, "--timeout", "2") == 1
        assert "not ready: POST" in capsys.readouterr().err
        assert requests.get(url, headers=headers, timeout=60).json() == {"status": "Healthy"}
    assert ready(server, "tiny", "--input", sample) == 0
