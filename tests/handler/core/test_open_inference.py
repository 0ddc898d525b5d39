import base64
import json

import numpy as np
import pytest
import torch

from tests.handler.archive import IMAGE, TENSOR, ask, grey, make_archive, make_bundle, softmax
from tests.handler.inference_requests import (
    BAD_INPUTS,
    OTHER_SHAPES,
    asking,
    one_element,
    with_binary,
)
from torchserve_fire.core.open_inference import (
    BINARY,
    NUMBERS,
    infer_input,
    infer_request,
)
from torchserve_fire.errors import InputError
from torchserve_fire.format.bundle import InputDescription
from torchserve_fire.model.preprocess import read_body
from torchserve_fire.serve.fire_handler import FireHandler


def start(context) -> FireHandler:
    service = FireHandler()
    service.initialize(context)
    return service


def outputs(answer: dict) -> dict:
    assert {"id", "model_name", "model_version", "outputs"} <= set(answer)
    return {one["name"]: (one["datatype"], one["shape"], one["data"]) for one in answer["outputs"]}


@pytest.fixture
def description(tmp_path):
    (tmp_path / "w").write_bytes(b"")
    return make_bundle(tmp_path / "w", "tensor").input


@pytest.mark.parametrize("flag_in_body", [False, True])
def test_each_request_of_a_batch_is_answered_in_its_own_form(tmp_path, flag_in_body):
    context = make_archive(tmp_path, IMAGE | {"flag_in_body": flag_in_body})
    white, black = (base64.b64encode(grey(level)).decode() for level in (255, 0))
    rows = [
        asking([1], "BYTES", [white], id="first"),
        {"body": grey(255)},
        {"body": json.dumps(asking([1, 1], "BYTES", [black])["body"]).encode()},
    ]
    (_, first), (_, plain), (_, third) = ask(start(context), context, rows)
    assert (first["id"], first["model_name"], first["model_version"]) == ("first", "m", "1.0")
    datatype, shape, values = outputs(first)["probabilities"]
    assert (datatype, shape) == ("FP32", [1, 3])
    assert values == pytest.approx(sorted(softmax(12 - 9, 6, 0), reverse=True))
    assert outputs(first)["classes"] == ("BYTES", [1, 3], ["1", "0", "2"])
    assert outputs(first)["flagged"] == outputs(first)["repaired"] == ("BOOL", [1], [True])
    assert outputs(third)["flagged"] == ("BOOL", [1], [False])
    assert third["id"] == ""
    assert "outputs" not in plain


def test_flat_and_nested_numbers(tmp_path):
    context = make_archive(tmp_path, TENSOR)
    rows = [
        asking([12], "FP32", [1.0] * 12),
        asking([1, 12], "INT64", [[1] * 12]),
        asking([1, 12], "UINT8", [0] * 12),
    ]
    answers = [outputs(answer) for _, answer in ask(start(context), context, rows)]
    assert [answer["flagged"][2] for answer in answers] == [[True], [True], [False]]


def test_binary_images(tmp_path):
    context = make_archive(tmp_path, IMAGE)
    rows = [
        {"body": with_binary([1], "BYTES", one_element(grey(255)), id="é")},
        {"body": bytearray(with_binary([1, 1], "BYTES", one_element(grey(0, "JPEG"))))},
        {"body": grey(255)},
    ]
    (_, first), (_, second), (_, plain) = ask(start(context), context, rows)
    assert first["id"] == "é"
    assert outputs(first)["flagged"] == ("BOOL", [1], [True])
    assert outputs(second)["flagged"] == ("BOOL", [1], [False])
    assert "outputs" not in plain


@pytest.mark.parametrize("datatype", list(NUMBERS))
def test_binary_numbers(datatype):
    values = np.arange(12).astype(NUMBERS[datatype])
    request = infer_request({"body": with_binary([1, 12], datatype, values.tobytes())})
    sample = infer_input(request, InputDescription("tensor", (12,)))
    assert sample == list(range(12))


def test_binary_numbers_that_are_white_space():
    request = infer_request({"body": with_binary([2], "UINT8", b" \n")})
    assert infer_input(request, InputDescription("tensor", (2,))) == [32, 10]


def test_a_line_end_after_the_json_is_no_tensor():
    tensor = {"name": "x", "shape": [2], "datatype": "FP32", "data": [1, 2]}
    request = infer_request({"body": json.dumps({"inputs": [tensor]}).encode() + b"\r\n"})
    assert infer_input(request, InputDescription("tensor", (2,))) == [1, 2]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (with_binary([2], "FP32", bytes(8), size=4), "binary_data_size: expected 8, which is how"),
        (with_binary([2], "FP32", bytes(8)).replace(b"parameters", b"parameter"), "expected 8"),
        (with_binary([2], "FP32", bytes(7)), "7 bytes, expected 4 for each number of FP32"),
        (with_binary([2], "FP32", bytes(4)), "expected the numbers of the shape [2]"),
        (with_binary([2], "BF16", bytes(4)), "expected BYTES or one of"),
        (with_binary([2], ["FP32"], bytes(8)), "expected BYTES or one of"),
        (with_binary([1], "BYTES", one_element(b"a") * 2), "expected BYTES of one element"),
        (with_binary([1], "BYTES", b"a"), "expected BYTES of one element"),
        (asking([2], "FP32", [1, 2])["body"], None),
    ],
)
def test_binary_tensors_that_are_not_what_is_said(body, reason):
    description = InputDescription("tensor", (2,))
    request = infer_request({"body": body})
    if reason is None:
        # What JSON says by the name is not taken for it.
        forged = {**request, BINARY: "text"}
        assert infer_input(forged, description) == [1, 2]
        return
    with pytest.raises(InputError) as raised:
        infer_input(request, description)
    assert reason in str(raised.value)
    assert "\n" not in str(raised.value)


def test_what_was_flagged_can_be_kept(tmp_path):
    context = make_archive(tmp_path, IMAGE)
    service = start(context)
    row = asking([1], "BYTES", [base64.b64encode(grey(255)).decode()])
    sample = read_body(service.body_of(row), service.fire_input)
    assert torch.equal(sample, torch.ones(3, 2, 2))


def test_errors_keep_the_shape_that_answers_must_have(tmp_path):
    context = make_archive(tmp_path, TENSOR | {"mode": "reject"})
    rows = [asking([12], "FP32", [1.0] * 12, id="a"), asking([2], "FP32", [1.0] * 2, id=7)]
    (flagged, first), (bad, second) = ask(start(context), context, rows)
    assert (flagged, bad) == (422, 400)
    assert (first["id"], second["id"]) == ("a", "")
    assert first["error"].startswith("FlaggedInput: ")
    assert outputs(first)["error"] == ("BYTES", [1], [first["error"]])
    assert outputs(first)["code"] == ("INT32", [1], [422])
    assert outputs(second)["code"] == ("INT32", [1], [400])


def test_no_flags_are_given_without_repair(tmp_path):
    context = make_archive(tmp_path, IMAGE | {"mode": "off"})
    row = asking([1], "BYTES", [base64.b64encode(grey(0)).decode()])
    ((_, answer),) = ask(start(context), context, [row])
    assert set(outputs(answer)) == {"classes", "probabilities"}


@pytest.mark.parametrize(("inputs", "reason"), BAD_INPUTS)
def test_bad_requests_get_what_was_expected(description, inputs, reason):
    with pytest.raises(InputError) as raised:
        infer_input({"inputs": inputs}, description)
    assert reason in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("data", OTHER_SHAPES)
def test_nested_numbers_of_another_shape(tmp_path, data):
    context = make_archive(tmp_path, TENSOR)
    ((status, answer),) = ask(start(context), context, [asking([12], "FP32", data)])
    assert status == 400
    assert "expected numbers only, of shape [12]" in answer["error"]


@pytest.mark.parametrize(
    "row",
    [
        {},
        {"body": b"{"},
        {"body": [1]},
        {"body": {"data": [1]}},
        {"body": b'{"data": 1}'},
        {"body": b'{"inputs\xff'},
    ],
)
def test_other_bodies_are_no_inference_requests(row):
    assert infer_request(row) is None
