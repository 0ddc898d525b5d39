"""What TorchServe answers that no other server is asked: management, tokens, a user's handler.

What every server answers is asked in tests/engines/test_serving.py.
"""

from __future__ import annotations

import pytest
import requests

from tests.tiny import TinyFiles, image
from torchserve_fire.format.bundle_file import load_bundle
from torchserve_fire_build.deployment.client.server_errors import ServerError
from torchserve_fire_build.deployment.server.torchserve import TorchServe

pytestmark = pytest.mark.server


def predict(server: TorchServe, model: str, body: bytes, **headers: str) -> requests.Response:
    return requests.post(
        f"{server.addresses.inference}/predictions/{model}",
        data=body,
        headers={"Authorization": f"Bearer {server.tokens.inference}", **headers},
        timeout=60,
    )


def test_describe_tells_the_bundle(server: TorchServe, tiny: TinyFiles) -> None:
    described = server.management.describe("tiny", customized=True).customized
    assert described["bundle"] == load_bundle(tiny.bundle).digest
    assert described["mode"] == "repair"
    assert [layer["name"] for layer in described["layers"]] == ["features"]
    assert described["held_out"] == {"clean_accuracy": 1.0}


def test_the_repair_works_around_a_users_handler_called_handler_py(server: TorchServe) -> None:
    answer = predict(server, "theirs", image(2, triggered=True))
    assert answer.json() == {"theirs": 2}
    assert answer.headers["x-fire-repaired"] == "true"


@pytest.mark.parametrize("token", [None, "wrong"])
def test_a_token_is_required(server: TorchServe, token: str | None) -> None:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    for url in (
        f"{server.addresses.inference}/predictions/tiny",
        f"{server.addresses.inference}/ping",
        f"{server.addresses.management}/models",
    ):
        answer = requests.get(url, headers=headers, timeout=60)
        assert answer.status_code == 400
        assert answer.json()["type"] == "InvalidKeyException"


def test_the_inference_token_does_not_manage(server: TorchServe) -> None:
    headers = {"Authorization": f"Bearer {server.tokens.inference}"}
    answer = requests.get(f"{server.addresses.management}/models", headers=headers, timeout=60)
    assert answer.status_code == 400


@pytest.mark.parametrize(
    "scheme", ["file://", "FILE://", "http://127.0.0.1:9/", "https://localhost"]
)
def test_only_the_model_store_can_be_registered_from(server: TorchServe, scheme: str) -> None:
    url = f"{scheme}{server.model_store / 'tiny-1.0.mar'}"
    with pytest.raises(ServerError, match="allowed URL") as caught:
        server.management.register(
            url,
            "elsewhere",
            workers=1,
            batch_size=1,
            max_batch_delay=10,
            response_timeout=60,
            startup_timeout=60,
        )
    assert caught.value.status == 404
    assert "elsewhere" not in server.management.models()
