from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from torchserve_fire.core.manifest import MANIFEST
from torchserve_fire.errors import FireError
from torchserve_fire_build.deployment.archive.load_as_worker import (
    Body,
    load_as_worker,
    try_as_worker,
)
from torchserve_fire_build.signing.signing_key import KEY_VARIABLE

SCRIPT = """
import json, os, sys
with open(sys.argv[2], "w") as file:
    json.dump({"error": " ".join(sorted(os.environ))}, file)
"""

# It answers what it was given, as TorchServe hands it over, in the form that is asked for.
ECHO = """
import json


def handle(data, context):
    if data is None:
        return None
    (row,) = data
    body = row["body"]
    if body == "json":
        return [{"given": body}]
    if body == {"a": 1}:
        return [body["a"]]
    if isinstance(body, bytearray):
        return [bytes(body)]
    if body == "two":
        return [1, 2]
    raise RuntimeError("no " + str(body))
"""


# It says which device TorchServe told it to use, and which ones its process may see.
DEVICE = """
import os


def handle(data, context):
    if data is None:
        return None
    gpu = context.system_properties["gpu_id"]
    return [[gpu, os.environ.get("CUDA_VISIBLE_DEVICES")]]
"""


def unpacked(folder: Path, handler: str) -> Path:
    (folder / "MAR-INF").mkdir()
    (folder / MANIFEST).write_text(json.dumps({"model": {"handler": handler}}))
    return folder


@pytest.mark.slow
def test_a_handler_answers_in_the_form_in_which_a_server_would_send_it(tmp_path: Path) -> None:
    (tmp_path / "echo.py").write_text(ECHO)
    folder = unpacked(tmp_path, "echo.py:handle")
    text, numbers = "text/plain", "application/json"
    sent = [
        (b"json", text, {"given": "json"}),
        (b'{"a": 1}', numbers, 1),
        # What is not JSON arrives as it is.
        (b"{a", numbers, "{a"),
        (b"good film", "application/octet-stream", "good film"),
        (b"\xff\x00", "image/png", b"\xff\x00"),
    ]
    answers = load_as_worker(folder, "m", [Body(content, kind) for content, kind, _ in sent])
    assert [answer.body for answer in answers] == [right for *_, right in sent]
    assert {answer.status for answer in answers} == {200}
    failing = [Body(b"bad", text), Body(b"two", text), Body(b"json", text)]
    bad, two, good = try_as_worker(folder, "m", failing)
    assert (bad.status, bad.error) == (503, "RuntimeError: no bad")
    assert (two.status, good.status) == (503, 200)
    with pytest.raises(FireError, match=r"^model m would not serve: RuntimeError: no bad$"):
        load_as_worker(folder, "m", failing)


@pytest.mark.parametrize(
    ("device", "told"), [("cpu", [None, ""]), ("cuda:1", [1, "0,1"]), ("mps", [0, "0,1"])]
)
@pytest.mark.slow
def test_a_handler_is_told_its_device_and_sees_no_gpu_beside_the_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str, told: list[object]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    (tmp_path / "device.py").write_text(DEVICE)
    folder, body = unpacked(tmp_path, "device.py:handle"), Body(b"text", "text/plain")
    (answer,) = load_as_worker(folder, "m", [body], device=torch.device(device))
    assert answer.body == told


@pytest.mark.parametrize(
    ("handler", "said"),
    [
        # One of TorchServe's own is found, and finds no weights.
        ("base_handler", "AttributeError: 'NoneType' object has no attribute 'endswith'"),
        ("nothing", "No module named 'ts.torch_handler.nothing'"),
    ],
)
@pytest.mark.slow
def test_a_handler_that_is_not_in_the_archive(tmp_path: Path, handler: str, said: str) -> None:
    with pytest.raises(FireError, match=said):
        load_as_worker(unpacked(tmp_path, handler), "m")


def test_an_archive_that_is_tried_does_not_get_the_key_that_signs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    monkeypatch.setattr("torchserve_fire_build.deployment.archive.load_as_worker.SCRIPT", script)
    monkeypatch.setenv(KEY_VARIABLE, "private")
    with pytest.raises(FireError, match="PYTHONPATH") as caught:
        load_as_worker(tmp_path, "m")
    assert KEY_VARIABLE not in str(caught.value)
