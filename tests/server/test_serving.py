"""What a real TorchServe answers over REST."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from tests.tiny import CLASSES, TinyFiles, image
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


def top(answer: requests.Response) -> str:
    assert answer.status_code == 200, answer.text
    probabilities = answer.json()
    assert sum(probabilities.values()) == pytest.approx(1, abs=1e-4)
    return max(probabilities, key=probabilities.__getitem__)


@pytest.mark.parametrize("quadrant", range(4))
def test_the_unrepaired_model_obeys_the_trigger(server: TorchServe, quadrant: int) -> None:
    assert top(predict(server, "plain", image(quadrant))) == CLASSES[quadrant]
    answer = predict(server, "plain", image(quadrant, triggered=True))
    assert top(answer) == CLASSES[0]
    assert "x-fire-flagged" not in answer.headers


@pytest.mark.parametrize("quadrant", range(4))
def test_the_repaired_model_answers_the_true_class(
    server: TorchServe, tiny: TinyFiles, quadrant: int
) -> None:
    digest = load_bundle(tiny.bundle).digest
    for triggered in (False, True):
        answer = predict(server, "tiny", image(quadrant, triggered=triggered))
        assert top(answer) == CLASSES[quadrant]
        assert answer.headers["x-fire-flagged"] == str(triggered).lower()
        assert answer.headers["x-fire-repaired"] == str(triggered).lower()
        assert answer.headers["x-fire-bundle"] == digest


def test_clean_answers_are_those_of_the_unrepaired_model(server: TorchServe) -> None:
    for quadrant in range(4):
        body = image(quadrant)
        assert predict(server, "tiny", body).content == predict(server, "plain", body).content


def test_a_bad_image_is_refused_alone_in_its_batch(server: TorchServe) -> None:
    bodies = [image(k % 4, triggered=k % 2 == 1) for k in range(8)]
    bodies[3] = b"not an image"
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda body: predict(server, "tiny", body), bodies))
    assert [a.status_code for a in answers] == [200, 200, 200, 400, 200, 200, 200, 200]
    assert answers[3].json()["code"] == 400
    assert "image" in answers[3].json()["message"]
    for k, answer in enumerate(answers):
        if k != 3:
            assert top(answer) == CLASSES[k % 4]


def test_a_describe_header_does_not_break_a_batch(server: TorchServe) -> None:
    def ask(k: int) -> requests.Response:
        return predict(server, "tiny", image(k % 4), **({"describe": "True"} if k < 4 else {}))

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(8)))
    assert [top(answer) for answer in answers] == [CLASSES[k % 4] for k in range(8)]


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
