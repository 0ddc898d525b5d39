"""A model that is served only where a trusted key has signed its archive."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import pytest
import requests

from tests.keys import KEY, PRIVATE, PUBLIC
from tests.server.registered import BOUNDS
from tests.tiny import TinyFiles, image
from torchserve_fire.format.bundle_file import load_bundle
from torchserve_fire_build.commands.main import main
from torchserve_fire_build.deployment.archive.sign_archive import verify_archive
from torchserve_fire_build.deployment.client.server_errors import ServerError
from torchserve_fire_build.deployment.server.torchserve import TorchServe
from torchserve_fire_build.signing.sign_bundle import sign_bundle
from torchserve_fire_build.signing.signing_key import KEY_VARIABLE

pytestmark = pytest.mark.server

SIGNED_BOUNDS = {**BOUNDS, "max_batch_delay": 20, "startup_timeout": 120}


def digest_served(server: TorchServe) -> str:
    answer = requests.post(
        f"{server.addresses.inference}/predictions/signed",
        data=image(3, triggered=True),
        headers={"Authorization": f"Bearer {server.tokens.inference}"},
        timeout=60,
    )
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-fire-repaired"] == "true"
    return answer.headers["x-fire-bundle"]


def test_a_signed_archive_serves_is_swapped_and_a_tampered_one_is_refused(
    server: TorchServe,
    signed_archive: Path,
    tiny: TinyFiles,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copy(signed_archive, server.model_store / signed_archive.name)
    server.management.register(signed_archive.name, "signed", workers=1, **SIGNED_BOUNDS)
    assert digest_served(server) == load_bundle(tiny.bundle).digest

    tampered = server.model_store / "tampered.mar"
    shutil.copy(signed_archive, tampered)
    with zipfile.ZipFile(tampered, "a") as packed:
        packed.writestr("captum.py", "")
    for _ in range(2):  # A version left behind would make the second a 409.
        with pytest.raises(ServerError) as caught:
            server.management.register(tampered.name, "tampered", workers=1, **SIGNED_BOUNDS)
        assert caught.value.status == 500
    assert "tampered" not in server.management.models()
    reason = "SignatureError: 'captum.py': was added to the archive after it was signed"
    assert reason in server.console.read_text()

    bundle = Path(shutil.copy(tiny.other_bundle, tmp_path))
    sign_bundle(bundle, KEY)
    command = ["swap", "--model-name", "signed", "--bundle", str(bundle)]
    command += ["--management", server.addresses.management, "--trusted-key", PUBLIC]
    command += ["--inference", server.addresses.inference, "--key-file", str(server.key_file)]
    command += ["--model-store", str(server.model_store)]
    assert main(command) == 64
    assert "give --sign" in capsys.readouterr().err
    monkeypatch.setenv(KEY_VARIABLE, PRIVATE)
    assert main([*command, "--sign"]) == 0
    assert digest_served(server) == load_bundle(bundle).digest
    verify_archive(server.model_store / "signed-1.1.mar", [PUBLIC])

    server.management.unregister("signed", "1.1")
    for path in (tampered, *server.model_store.glob("signed-*")):
        path.unlink()
