"""`swap` makes another version of a signed archive, which must be signed in its turn.

That archives and bundles are refused by every server is asked in tests/engines/test_signed.py.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import requests

from tests.keys import KEY, PRIVATE, PUBLIC
from tests.server.registered import BOUNDS
from tests.tiny import TinyFiles, image
from torchserve_fire.format.bundle_file import load_bundle
from torchserve_fire_build.commands.main import main
from torchserve_fire_build.deployment.archive.sign_archive import verify_archive
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


def test_a_signed_archive_is_swapped_for_another_that_is_signed(
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
    for path in server.model_store.glob("signed-*"):
        path.unlink()
