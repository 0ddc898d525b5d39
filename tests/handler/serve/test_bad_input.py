"""Bad requests in process: each is refused alone, in one line, and its batch is as without it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ImageFile

from tests.handler import damaged_images
from tests.handler.archive import TENSOR, ask, grey, make_archive
from tests.handler.bad_requests import IMAGE_CASES, MARKER, REFUSED, TENSOR_CASES, Case
from torchserve_fire.serve.fire_handler import FireHandler

GOOD = {"image": [{"body": grey(0)}, {"data": grey(255)}], "tensor": [{"body": [0.0] * 12}] * 2}
Served = tuple[FireHandler, Any]


def start(folder: Any, settings_: dict | None = None) -> Served:
    context = make_archive(folder, settings_)
    service = FireHandler()
    service.initialize(context)
    return service, context


@pytest.fixture(scope="module")
def image_model(tmp_path_factory: pytest.TempPathFactory) -> Served:
    return start(tmp_path_factory.mktemp("image"))


@pytest.fixture(scope="module")
def tensor_model(tmp_path_factory: pytest.TempPathFactory) -> Served:
    return start(tmp_path_factory.mktemp("tensor"), TENSOR)


def check_refusal(status: int, answer: Any) -> None:
    assert status in REFUSED
    if "outputs" in answer:  # Asked in the Open Inference Protocol, it is answered so.
        kind, message = answer["error"].split(": ", 1)
        (code,) = answer["outputs"][1]["data"]
        answer = {"code": code, "type": kind, "message": message}
    assert set(answer) == {"code", "type", "message"}
    assert (answer["code"], answer["type"]) == (status, "InputError")
    message = answer["message"]
    assert message
    assert message.isprintable()
    assert len(message) <= 300
    assert MARKER[:6] not in message
    json.dumps(answer).encode()


def check(served: Served, case: Case, good: list[dict[str, Any]]) -> None:
    """Send a case between two good requests, and see that these are answered as without it."""
    service, context = served
    alone = ask(service, context, good)
    assert [status for status, _ in alone] == [200, 200]
    first, (status, answer), last = ask(service, context, [good[0], case.row, good[1]])
    assert [first, last] == alone
    assert status in case.statuses, answer
    if status == 200:
        assert sum(answer.values()) == pytest.approx(1)
    else:
        check_refusal(status, answer)
        # Each is counted by a reason of its own.
        assert "other" not in service.describe_handle()["counts"]["bad_inputs"]


def test_there_are_many_cases():
    names = [case.name for case in IMAGE_CASES]
    assert len(names) == len(set(names)) >= 450
    assert len(TENSOR_CASES) >= 80


@pytest.mark.parametrize("case", IMAGE_CASES, ids=lambda case: case.name)
def test_a_bad_request_for_an_image_model(image_model: Served, case: Case):
    check(image_model, case, GOOD["image"])


@pytest.mark.parametrize("case", TENSOR_CASES, ids=lambda case: case.name)
def test_a_bad_request_for_a_tensor_model(tensor_model: Served, case: Case):
    check(tensor_model, case, GOOD["tensor"])


HEADERS = {
    "describe": "True",
    "explain": "True",
    "content-type": "image/png\r\nx: y",
    "x-fire-flagged": "false",
    "": "",
    "é": "\ud800",
    "long": "x" * 100_000,
    "service_envelope": "kservev2",
}


@pytest.mark.parametrize("name", HEADERS)
def test_a_strange_header_changes_no_answer(image_model: Served, name: str):
    service, context = image_model
    rows = GOOD["image"]
    plain = ask(service, context, rows)
    assert ask(service, context, rows, {0: {name: HEADERS[name]}}) == plain
    assert ask(service, context, rows, {1: {name: HEADERS[name]}}) == plain
    assert ask(service, context, [{"body": b""}], {0: {name: HEADERS[name]}})[0][0] == 400


def test_only_the_management_api_gets_a_description(image_model: Served):
    service, context = image_model
    ((_, described),) = ask(service, context, [{}], {0: {"describe": "True"}})
    assert described["mode"] == "repair"
    # A form without fields arrives likewise; TorchServe sets this header on every prediction.
    ((status, answer),) = ask(service, context, [{}], {0: {"describe": "True", "explain": "False"}})
    check_refusal(status, answer)


@pytest.mark.parametrize("name", list(damaged_images.bombs()))
def test_a_bomb_is_not_decoded(image_model: Served, name: str, monkeypatch: pytest.MonkeyPatch):
    decoded = []
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda image: decoded.append(image.size))
    service, context = image_model
    ((status, answer),) = ask(service, context, [{"body": damaged_images.bombs()[name]}])
    check_refusal(status, answer)
    assert not decoded


MEMORY = """
import resource
from torchserve_fire.format.bundle import InputDescription
from torchserve_fire.errors import InputError
from torchserve_fire.model.preprocess import read_body
from tests.handler.bad_requests import json_values
from tests.handler.damaged_images import bombs, metadata, png

image = InputDescription("image", (3, 8, 8), (0.0,) * 3, (1.0,) * 3)
bodies = [*bombs().values(), *metadata().values(), *json_values().values()]

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

read_body(png(9, 9, rows=bytes(90)), image)
before = peak()
for body in bodies:
    for shape in (image, InputDescription("tensor", (12,))):
        try:
            read_body(body, shape)
        except InputError:
            pass
print(peak() - before)
"""


@pytest.mark.slow
def test_bad_bodies_take_little_memory():
    # A process of its own: the peak of this one may lie far above what its next case needs.
    command = [sys.executable, "-c", MEMORY]
    grown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert int(grown) < 100, f"{grown} MiB"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=13) | st.dictionaries(st.sampled_from(["data", "x"]), inner)
    ),
    max_leaves=20,
)
DAMAGED = st.builds(
    damaged_images.flipped,
    st.sampled_from(sorted(damaged_images.formats().values())),
    st.integers(0, 2**32),
)
ROWS = st.dictionaries(
    st.sampled_from(["data", "body", "x\n"]),
    JSON | DAMAGED | st.binary(max_size=99) | st.text(max_size=99),
    max_size=2,
)


@given(st.lists(ROWS, max_size=6), st.integers(0, 6), st.sampled_from(["image", "tensor"]))
@settings(deadline=None, max_examples=200)
def test_any_requests_around_good_ones(
    image_model: Served, tensor_model: Served, rows: list[dict], place: int, kind: str
):
    service, context = image_model if kind == "image" else tensor_model
    good = GOOD[kind]
    alone = ask(service, context, good)
    batch = [*rows[:place], good[0], *rows[place:], good[1]]
    answers = ask(service, context, batch)
    at = min(place, len(rows))
    assert [answers.pop(at), answers.pop()] == alone
    for status, answer in answers:
        if status != 200:
            check_refusal(status, answer)
        else:
            assert sum(answer.values()) == pytest.approx(1)
