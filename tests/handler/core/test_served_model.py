"""A served model answers as TorchServe's handler does, whatever server asks."""

from __future__ import annotations

import base64
import json

import pytest

from tests.handler.archive import IMAGE, TENSOR, grey
from tests.handler.bad_requests import IMAGE_CASES, TENSOR_CASES
from tests.handler.core.several_bundles import several_bundles
from tests.handler.core.unpacked import answers_of_torchserve, make_unpacked
from tests.handler.tables import CASES, DESCRIBED, FLAGGED, TABLE, csv_of, named
from tests.handler.tables import GOOD as GOOD_ROW
from torchserve_fire.core.open_model import open_model
from torchserve_fire.errors import FireError

MODES = ("repair", "observe", "reject", "off")


def infer(shape, datatype, data):
    return {"id": "7", "inputs": [{"shape": shape, "datatype": datatype, "data": data}]}


def bodies_of(cases) -> list:
    """Bodies of all kinds: in the core they stand alone, and not as parameters of a request."""
    return [case.row["body"] for case in cases if set(case.row) == {"body"}]


GOOD = {
    "image": [
        grey(0),
        grey(255),
        bytearray(grey(128)),
        base64.b64encode(grey(255)).decode(),
        [[[1.0, 1.0], [1.0, 1.0]]] * 3,
        {"data": [[[0, 0], [0, 0]]] * 3},
        infer([1], "BYTES", [base64.b64encode(grey(255)).decode()]),
        json.dumps(infer([1], "BYTES", ["?"])).encode(),
        infer([3], "FP32", [1.0]),
    ],
    "tensor": [
        [0.0] * 12,
        [1.0] * 12,
        [3e38] * 12,
        json.dumps([0.5] * 12),
        infer([1, 12], "FP32", [1.0] * 12),
        infer([12], "INT64", [0] * 12),
    ],
}


def answered(model, bodies) -> list:
    return [(one.status, one.body, dict(one.headers)) for one in model.answer(bodies)]


@pytest.mark.parametrize("mode", MODES)
def test_rows_of_a_table_are_answered_likewise(tmp_path, mode):
    kept = tmp_path / "quarantine"
    settings = {**TABLE, "mode": mode, "quarantine": {"folder": str(kept)}}
    folder = tmp_path / "unpacked"
    folder.mkdir()
    context = make_unpacked(folder, settings, input=DESCRIBED)
    bodies = [GOOD_ROW, csv_of(FLAGGED), {"inputs": named(n1=10.0)}, b"{", *table_bodies()]
    with open_model(folder) as model:
        ours = answered(model, bodies)
    if mode != "off":
        # The same row once, and nothing of what was refused.
        (file,) = (kept / "m").iterdir()
        assert file.read_text().splitlines()[1].split(",")[2] == "10.0"
    assert ours == answers_of_torchserve(context, bodies)


def table_bodies() -> list:
    return [case.body for case in CASES.values()]


@pytest.mark.parametrize("flag_in_body", [False, True])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", ["image", "tensor"])
def test_it_answers_as_torchserves_handler(tmp_path, kind, mode, flag_in_body):
    settings = {"image": IMAGE, "tensor": TENSOR}[kind]
    settings = settings | {"mode": mode, "flag_in_body": flag_in_body, "topk": 2}
    context = make_unpacked(tmp_path, settings)
    (tmp_path / "index_to_name.json").write_text('{"0": "cat", "1": ["n1", "dog"], "2": "cat"}')
    expected = answers_of_torchserve(context, GOOD[kind])
    with open_model(tmp_path, device="cpu") as model:
        assert answered(model, GOOD[kind]) == expected
    assert {status for status, _, _ in expected} >= {200, 400 if kind == "image" else 422}


@pytest.mark.parametrize(("kind", "cases"), [("image", IMAGE_CASES), ("tensor", TENSOR_CASES)])
def test_bad_requests_are_refused_as_torchserves_handler_does(tmp_path, kind, cases):
    bodies = bodies_of(cases)
    assert len(bodies) > 50
    context = make_unpacked(tmp_path, {"image": IMAGE, "tensor": TENSOR}[kind])
    expected = answers_of_torchserve(context, bodies)
    with open_model(tmp_path, device="cpu") as model:
        assert answered(model, bodies) == expected


@pytest.mark.parametrize("bodies", [grey(255), "[0, 0]", {"data": []}, None])
def test_bodies_that_are_no_list(tmp_path, bodies):
    make_unpacked(tmp_path, TENSOR)
    with open_model(tmp_path) as model, pytest.raises(FireError, match="one body for each request"):
        model.answer(bodies)


def test_a_batch_of_nothing_and_bodies_that_come_one_by_one(tmp_path):
    make_unpacked(tmp_path, TENSOR)
    with open_model(tmp_path) as model:
        assert model.answer([]) == []
        assert model.answer(iter([[0.0] * 12, "?"])) == model.answer([[0.0] * 12, "?"])


def test_identifiers_are_one_for_each_request_or_none(tmp_path):
    make_unpacked(tmp_path, TENSOR)
    with open_model(tmp_path) as model:
        model.answer([[0.0] * 12], ["a"])
        with pytest.raises(FireError, match="request_ids: 2 for 1 requests"):
            model.answer([[0.0] * 12], ["a", "b"])


def test_a_swap_to_nothing_is_one_back_to_the_first_bundle(tmp_path):
    archive = tmp_path / "archive"
    archive.mkdir()
    make_unpacked(archive)
    files = several_bundles(tmp_path / "bundles", archive / "w.pth")
    with open_model(archive) as model:
        first = model.bundle.digest
        model.swap(files["strong"])
        model.swap(None)
        assert model.bundle.digest == model.answer([grey(0)])[0].headers["x-fire-bundle"] == first
        model.swap(None)
        assert model.describe()["bundle"] == first


def test_in_mode_off_there_is_no_first_bundle(tmp_path):
    make_unpacked(tmp_path, IMAGE | {"mode": "off"})
    with open_model(tmp_path) as model:
        model.swap(None)
        assert model.answer([grey(0)])[0].status == 200
