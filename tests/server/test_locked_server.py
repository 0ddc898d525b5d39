"""A server with TorchServe's own defaults: no model API, and tokens that expire."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tiny import TinyFiles
from torchserve_fire_build.commands.main import main
from torchserve_fire_build.deployment.client.server_process import find_server
from torchserve_fire_build.deployment.server.torchserve import TorchServe

pytestmark = pytest.mark.server

LONG_AGO = "2020-01-01T00:00:00.123456789Z"


@pytest.fixture(scope="module")
def locked(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TorchServe]:
    own = tmp_path_factory.mktemp("locked")
    shutil.copy(store / "tiny-1.0.mar", own)
    with TorchServe(own, settings={"enable_model_api": "false"}, free_ports=True) as running:
        yield running


def expire(key_file: Path, copy: Path | None = None) -> dict[str, str]:
    """Write a key file whose tokens expired long ago; return the tokens."""
    keys = json.loads(key_file.read_text())
    for kind in ("management", "inference"):
        keys[kind]["expiration time"] = LONG_AGO
    (copy or key_file).write_text(json.dumps(keys))
    return {kind: keys[kind]["key"] for kind in keys}


def where(server: TorchServe) -> list[str]:
    return ["--management", server.addresses.management, "--inference", server.addresses.inference]


@pytest.mark.parametrize("command", ["deploy", "swap"])
def test_a_model_api_that_is_off_is_named_before_anything_is_done(
    locked: TorchServe,
    store: Path,
    tiny: TinyFiles,
    command: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    what = [str(store / "theirs-1.0.mar")] if command == "deploy" else []
    what += ["--bundle", str(tiny.bundle)] if command == "swap" else []
    arguments = [command, *what, "--model-name", "net", "--model-store", str(locked.model_store)]
    assert main([*arguments, *where(locked), "--key-file", str(locked.key_file)]) == 64
    said = capsys.readouterr().err
    process = find_server(locked.addresses.management)
    assert process is not None
    assert process.folder == locked.folder
    assert f"set enable_model_api=true in {process.config}, or start it with" in said
    assert said.count("\n") == 1
    assert [path.name for path in locked.model_store.iterdir()] == ["tiny-1.0.mar"]


def test_expired_tokens_are_renewed(
    locked: TorchServe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # That of the server's own folder is found from another one.
    monkeypatch.chdir(tmp_path)
    before = expire(locked.key_file)
    assert main(["status", "--management", locked.addresses.management]) == 0
    after = json.loads(locked.key_file.read_text())
    assert after["management"]["key"] != before["management"]
    assert after["management"]["expiration time"] > LONG_AGO
    # Nobody asked for a prediction.
    assert after["inference"]["key"] == before["inference"]


def test_a_key_file_that_is_a_copy_or_of_another_server_is_told(
    locked: TorchServe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "key_file.json"
    expire(locked.key_file, copy)
    command = ["status", "--management", locked.addresses.management, "--key-file", str(copy)]
    assert main(command) == 64
    said = capsys.readouterr().err
    assert "and the new one is not in it: it is a copy; give --key-file" in said
    copy.write_text(copy.read_text().replace(locked.tokens.api, "another"))
    assert main(command) == 64
    said = capsys.readouterr().err
    assert f"expired at {LONG_AGO}, and TorchServe at" in said
    assert "refused its API key: is it the key_file.json of this server?" in said
