"""What every engine answers to images, with and without the trigger, before and after repair."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from tests.tiny import CLASSES, TinyFiles, image
from torchserve_fire.format.bundle_file import load_bundle

from .archive import MODEL, make_archive
from .conftest import Serving, Started
from .engine import Engine, Received, Sent
from .other_address import other_address

LARGE = b"x" * 6_553_501


@pytest.fixture(scope="module")
def unrepaired(
    serving: Serving, tiny: TinyFiles, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Engine]:
    folder = tmp_path_factory.mktemp("unrepaired")
    archive = make_archive(tiny, folder, name="unrepaired", mode="off")
    with serving(archive, "unrepaired", folder) as engine:
        yield engine


def top(answer: Received) -> str:
    assert answer.status == 200, answer.body
    probabilities: dict[str, float] = answer.body
    assert sum(probabilities.values()) == pytest.approx(1, abs=1e-4)
    return max(probabilities, key=probabilities.__getitem__)


def test_the_unrepaired_model_obeys_the_trigger(unrepaired: Engine) -> None:
    for quadrant in range(4):
        assert top(unrepaired.ask(Sent(image(quadrant)))) == CLASSES[quadrant]
        answer = unrepaired.ask(Sent(image(quadrant, triggered=True)))
        assert top(answer) == CLASSES[0]
        assert answer.headers == {}


def test_clean_answers_are_those_of_the_unrepaired_model(
    started: Started, unrepaired: Engine
) -> None:
    for quadrant in range(4):
        sent = Sent(image(quadrant))
        assert started.engine.ask(sent).body == unrepaired.ask(sent).body


@pytest.mark.parametrize("quadrant", range(4))
def test_the_repaired_model_answers_the_true_class(
    started: Started, tiny: TinyFiles, quadrant: int
) -> None:
    for triggered in (False, True):
        answer = started.engine.ask(Sent(image(quadrant, triggered=triggered)))
        assert top(answer) == CLASSES[quadrant]
        assert answer.headers == {
            "x-fire-flagged": str(triggered).lower(),
            "x-fire-repaired": str(triggered).lower(),
            "x-fire-bundle": load_bundle(tiny.bundle).digest,
        }


def test_a_bad_image_is_refused_alone_in_its_batch(started: Started) -> None:
    bodies = [image(k % 4, triggered=k % 2 == 1) for k in range(8)]
    bodies[3] = b"not an image"
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda body: started.engine.ask(Sent(body)), bodies))
    assert [a.status for a in answers] == [200, 200, 200, 400, 200, 200, 200, 200]
    assert answers[3].body["code"] == 400
    assert "image" in answers[3].body["message"]
    for k, answer in enumerate(answers):
        if k != 3:
            assert top(answer) == CLASSES[k % 4]


def test_a_describe_header_does_not_break_a_batch(started: Started) -> None:
    def ask(k: int) -> Received:
        more = {"describe": "True"} if k < 4 else {}
        return started.engine.ask(Sent(image(k % 4)), more=more)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(8)))
    assert [top(answer) for answer in answers] == [CLASSES[k % 4] for k in range(8)]


@pytest.mark.parametrize("path", ["/v1/models/nobody:predict", "/v2/models/nobody/infer"])
def test_another_model_is_not_found(started: Started, path: str) -> None:
    answer = started.engine.ask(Sent(image(1)), path)
    assert (answer.status, answer.body["message"]) == (404, "Model not found: nobody")


def test_another_version_is_not_found(started: Started, engine_name: str) -> None:
    # Of that protocol, TorchServe takes no versions.
    is_torchserve = engine_name == "torchserve"
    path = f"/predictions/{MODEL}/@" if is_torchserve else f"/v2/models/{MODEL}/versions/@/infer"
    answer = started.engine.ask(Sent(image(1)), path.replace("@", "7"))
    said = f"Model version: 7 does not exist for model: {MODEL}"
    assert (answer.status, answer.body["message"]) == (404, said)
    assert started.engine.ask(Sent(image(1)), path.replace("@", "1.0")).status == 200


def test_a_body_that_is_too_large_is_refused(started: Started, engine_name: str) -> None:
    def chunks() -> Iterator[bytes]:
        for start in range(0, len(LARGE), 1_000_000):
            yield LARGE[start : start + 1_000_000]

    engine = started.engine
    for path in (engine.predict_path, engine.infer_path):
        for data in (LARGE, chunks()):
            answer = requests.post(
                f"{engine.base}{path}", data=data, headers=engine.headers, timeout=60
            )
            assert answer.status_code == 413
            # TorchServe's own front end says no more.
            assert engine_name == "torchserve" or "expected fewer" in answer.json()["message"]
    assert engine.ask(Sent(image(1))).status == 200


def test_it_is_ready(started: Started, engine_name: str) -> None:
    engine = started.engine
    if engine_name == "torchserve":
        pytest.skip("it knows no readiness of a model: torchserve-fire ready asks in another way")
    for path in (f"/v2/models/{MODEL}/ready", "/v2/health/ready", "/v2/health/live"):
        answer = requests.get(f"{engine.base}{path}", headers=engine.headers, timeout=60)
        assert answer.status_code == 200, path
    path = "/v2/models/nobody/ready"
    answer = requests.get(f"{engine.base}{path}", headers=engine.headers, timeout=60)
    assert answer.status_code == 404


def test_it_listens_at_loopback_only(started: Started, engine_name: str) -> None:
    host = other_address()
    places = [started.engine.base.removeprefix("http://")]
    if engine_name != "ray":  # Ray Serve opens that one to all; whom it answers is tested apart.
        places.append(started.engine.place.address)
    for place in places:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((host, int(place.rpartition(":")[2])), timeout=5)
