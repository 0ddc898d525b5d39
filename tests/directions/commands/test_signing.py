"""The commands that make, use and check keys."""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path

import pytest
from securesystemslib.dsse import Envelope
from securesystemslib.signer import SSlibKey

from tests.keys import OTHER_PUBLIC, PUBLIC
from tests.tiny import TinyFiles
from torchserve_fire.format.bundle_file import BUNDLE_FILE, load_bundle
from torchserve_fire.format.ed25519 import parse_public_key
from torchserve_fire_build.commands.main import main
from torchserve_fire_build.deployment.server.torchserve import TorchServe
from torchserve_fire_build.signing.signing_key import KEY_VARIABLE


@pytest.fixture
def key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> tuple[Path, str]:
    """A key file and its public key."""
    path = tmp_path / "key.pem"
    assert main(["keygen", str(path)]) == 0
    public = capsys.readouterr().out
    assert public.endswith("\n")
    return path, parse_public_key(public.strip(), "")


@pytest.fixture
def bundle(tiny: TinyFiles, tmp_path: Path) -> Path:
    return Path(shutil.copy(tiny.bundle, tmp_path))


def refused(
    capsys: pytest.CaptureFixture[str], command: list[str], match: str, status: int = 64
) -> None:
    assert main(command) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"torchserve-fire {command[0]}: ")
    assert len(err.splitlines()) == 1
    assert match in err


def test_a_bundle_is_signed_and_verified(
    key: tuple[Path, str],
    bundle: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path, public = key
    verify = ["verify", str(bundle), "--trusted-key", OTHER_PUBLIC, "--trusted-key", public]
    refused(capsys, ["keygen", str(path)], "exists already, expected a new file")
    refused(capsys, verify, "cannot read the bundle's signature", 1)
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    refused(capsys, ["sign", str(bundle)], KEY_VARIABLE)
    assert main(["sign", str(bundle), "--key", str(path)]) == 0
    signature = Path(capsys.readouterr().out.strip())
    assert signature == bundle.with_name("bundle.safetensors.sig")
    data = signature.read_bytes()
    monkeypatch.setenv(KEY_VARIABLE, path.read_text())
    assert main(["sign", str(bundle)]) == 0
    assert signature.read_bytes() == data
    capsys.readouterr()
    assert main(verify) == 0
    assert "signed by a trusted key" in capsys.readouterr().out
    refused(capsys, verify[:-2], "which is not trusted", 1)
    # Another's reader of the same envelope comes to the same.
    envelope = Envelope.from_dict(json.loads(data))
    value = {"public": base64.b64decode(public).hex()}
    envelope.verify([SSlibKey(public, "ed25519", "ed25519", value)], 1)
    assert json.loads(envelope.payload)["files"] == {BUNDLE_FILE: load_bundle(bundle).digest}


def test_an_archive_is_verified(
    signed_archive: Path, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", str(signed_archive), "--trusted-key", PUBLIC]) == 0
    capsys.readouterr()
    another = ["verify", str(signed_archive), "--trusted-key", OTHER_PUBLIC]
    refused(capsys, another, "not trusted", 1)
    plain = str(store / "tiny-1.0.mar")
    refused(capsys, ["verify", plain, "--trusted-key", PUBLIC], "not signed", 1)
    refused(capsys, ["verify", plain, "--trusted-key", "secret"], "--trusted-key secret: exp")


def test_serve_starts_nothing_that_is_not_signed(
    signed_archive: Path,
    store: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    started = []
    monkeypatch.setattr(TorchServe, "start", lambda self: started.append(self))
    monkeypatch.setattr(TorchServe, "wait_until_ready", lambda self: None)
    monkeypatch.setattr(TorchServe, "wait", lambda self: 0)
    serve = ["serve", "--trusted-key", PUBLIC, "--model-store"]
    refused(capsys, [*serve, str(store), "--models", "tiny=tiny-1.0.mar"], "not signed")
    refused(capsys, [*serve, str(store)], "expected the archives to load")
    assert started == []
    assert main([*serve, str(signed_archive.parent), "--models", signed_archive.name]) == 1
    assert len(started) == 1


def test_package_takes_the_key_and_the_keys(
    tiny_model: list[str],
    key: tuple[Path, str],
    bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path, public = key
    command = ["package", "--model-name", "m", "--version", "1.0", *tiny_model]
    command += ["--bundle", str(bundle), "--export-path", str(tmp_path), "--trusted-key", public]
    refused(capsys, command, "cannot read the bundle's signature")
    assert main(["sign", str(bundle), "--key", str(path)]) == 0
    capsys.readouterr()
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    refused(capsys, [*command, "--sign"], KEY_VARIABLE)
    monkeypatch.setattr(
        "torchserve_fire_build.deployment.archive.package.load_as_worker", lambda *_, **__: None
    )
    assert main([*command, "--sign", str(path)]) == 0
    archive = Path(capsys.readouterr().out.strip())
    data = archive.read_bytes()
    assert main(["verify", str(archive), "--trusted-key", public]) == 0
    monkeypatch.setenv(KEY_VARIABLE, path.read_text())
    assert main([*command, "--force", "--sign"]) == 0
    assert archive.read_bytes() == data
