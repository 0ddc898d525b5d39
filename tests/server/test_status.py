"""`torchserve-fire status` asks a real server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.tiny import TinyFiles, image
from torchserve_fire.format.bundle_file import load_bundle
from torchserve_fire_build.commands.main import main
from torchserve_fire_build.deployment.server.torchserve import TorchServe

pytestmark = pytest.mark.server


def status(server: TorchServe, capsys: pytest.CaptureFixture[str], *more: str) -> str:
    command = ["status", "--management", server.addresses.management]
    assert main([*command, "--key-file", str(server.key_file), *more]) == 0
    return capsys.readouterr().out


def of_model(text: str, name: str) -> dict[str, Any]:
    (found,) = [one for one in json.loads(text) if one["model"] == name]
    return dict(found)


def test_it_tells_what_was_judged_since_before(
    server: TorchServe, tiny: TinyFiles, capsys: pytest.CaptureFixture[str]
) -> None:
    before = of_model(status(server, capsys, "--json"), "tiny")
    for body in (image(0), image(1, triggered=True), b"no image"):
        requests.post(
            f"{server.addresses.inference}/predictions/tiny",
            data=body,
            headers={"Authorization": f"Bearer {server.tokens.inference}"},
            timeout=60,
        )
    after = of_model(status(server, capsys, "--json"), "tiny")
    assert after["judged"] - before["judged"] == 2
    assert after["flagged"] - before["flagged"] == 1
    assert sum(after["bad_inputs"].values()) - sum(before["bad_inputs"].values()) == 1
    assert after["flagged_share"] == after["flagged"] / after["judged"]
    assert (after["mode"], after["bundle"]) == ("repair", load_bundle(tiny.bundle).digest)
    assert (after["default"], after["workers"], after["answered"]) == (True, 1, 1)


def test_a_model_without_repair_has_no_bundle(
    server: TorchServe, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = of_model(status(server, capsys, "--json"), "plain")
    assert (plain["mode"], plain["bundle"], plain["flagged_share"]) == ("off", None, None)


def test_the_table_has_a_line_for_each_version(
    server: TorchServe, tiny: TinyFiles, capsys: pytest.CaptureFixture[str]
) -> None:
    heading, *lines = status(server, capsys).splitlines()
    assert heading.split()[:5] == ["model", "version", "default", "workers", "mode"]
    (line,) = [line for line in lines if line.startswith("tiny ")]
    assert line.split()[1:6] == ["1.0", "yes", "1", "of", "1"]
    assert load_bundle(tiny.bundle).digest[:12] in line


def test_a_server_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--management", "http://127.0.0.1:9", "--token", "x"]) == 64
    said = capsys.readouterr().err
    assert "connection refused" in said
    assert len(said.strip().splitlines()) == 1
