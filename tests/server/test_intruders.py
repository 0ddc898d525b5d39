"""What a real TorchServe refuses to those who are not meant to ask.

Of TorchServe alone: no other server knows tokens, or registers archives on a request.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import psutil
import pytest
import requests

from tests.tiny import CLASSES, image
from torchserve_fire_build.deployment.client.server_errors import ServerError
from torchserve_fire_build.deployment.server.torchserve import TorchServe

pytestmark = pytest.mark.server

REPLACED = "replaced-1.0.mar"


def ask(url: str, token: str | None, method: str = "GET", body: bytes = b"") -> requests.Response:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return requests.request(method, url, data=body, headers=headers, timeout=60)


def register(server: TorchServe, url: str, name: str) -> None:
    server.management.register(
        url,
        name,
        workers=1,
        batch_size=1,
        max_batch_delay=10,
        response_timeout=60,
        startup_timeout=60,
    )


@pytest.mark.parametrize(
    "path",
    [
        "predictions/tiny",
        "predictions/tiny/1.0",
        "/predictions/tiny",
        "explanations/tiny",
        "v1/models/tiny:predict",
        "v2/models/tiny/infer",
        "wfpredict/tiny",
    ],
)
def test_no_way_to_a_prediction_goes_without_the_inference_token(
    server: TorchServe, path: str
) -> None:
    for token in (None, server.tokens.management, server.tokens.api):
        answer = ask(f"{server.addresses.inference}/{path}", token, "POST", image(1))
        assert answer.json()["type"] == "InvalidKeyException"


@pytest.mark.parametrize("path", ["models", "models/tiny", "workflows", "token?type=management"])
def test_the_tokens_of_others_do_not_manage(server: TorchServe, path: str) -> None:
    tokens = [None, server.tokens.inference]
    # Only the API key gets new tokens, and it gets nothing else.
    tokens.append(server.tokens.management if "token" in path else server.tokens.api)
    for token in tokens:
        answer = ask(f"{server.addresses.management}/{path}", token)
        assert answer.json()["type"] == "InvalidKeyException"


def test_an_archive_outside_the_model_store_is_not_registered(
    server: TorchServe, tmp_path: Path
) -> None:
    outside = tmp_path / "outside-1.0.mar"
    shutil.copy(server.model_store / "tiny-1.0.mar", outside)
    for url in (str(outside), f"../{tmp_path.name}/{outside.name}", "../store/tiny-1.0.mar"):
        with pytest.raises(ServerError) as caught:
            register(server, url, "outside")
        assert caught.value.status is not None
        assert 400 <= caught.value.status < 500
    assert "outside" not in server.management.models()


@pytest.mark.slow
def test_an_archive_that_was_replaced_reaches_no_worker_before_it_is_registered(
    server: TorchServe,
) -> None:
    archive = server.model_store / REPLACED
    shutil.copy(server.model_store / "tiny-1.0.mar", archive)
    try:
        register(server, REPLACED, "replaced")
        archive.write_bytes((server.model_store / "plain-1.0.mar").read_bytes())
        (worker,) = server.management.describe("replaced").workers
        psutil.Process(worker).kill()
        answer = wait_for_another_worker(server, "replaced", worker)
        assert answer.headers["x-fire-repaired"] == "true"
        probabilities = answer.json()
        assert max(probabilities, key=probabilities.__getitem__) == CLASSES[1]
    finally:
        server.management.unregister("replaced", "1.0")
        archive.unlink()


def wait_for_another_worker(server: TorchServe, name: str, old: int) -> requests.Response:
    deadline = time.monotonic() + 120
    while True:
        model = server.management.describe(name)
        if old not in model.workers and model.ready:
            url = f"{server.addresses.inference}/predictions/{name}"
            return ask(url, server.tokens.inference, "POST", image(1, triggered=True))
        assert time.monotonic() < deadline, "no other worker was started"
        time.sleep(0.5)
