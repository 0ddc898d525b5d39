import json
import logging
import os
import pickle
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import torchserve_fire
from tests.handler.archive import (
    IMAGE,
    MODEL_FILE,
    TENSOR,
    ask,
    encode,
    grey,
    make_archive,
    make_bundle,
    make_context,
    save_bundle,
    softmax,
    state_dict,
)
from torchserve_fire.core import classify
from torchserve_fire.errors import BundleError, ConfigError, FireError, ModelError
from torchserve_fire.format.bundle import INPUT_LAYER, Detection, Layer
from torchserve_fire.format.bundle_file import BUNDLE_FILE
from torchserve_fire.format.bundle_file import save_bundle as write_bundle
from torchserve_fire.format.correction_forms import Overlay, Shift
from torchserve_fire.model.preprocess import read_body
from torchserve_fire.serve import repair_mixin
from torchserve_fire.serve.fire_handler import FireHandler


def start(context) -> FireHandler:
    service = FireHandler()
    service.initialize(context)
    return service


def fire_headers(context, index: int) -> dict[str, str]:
    return {k[7:]: v for k, v in context.get_response_headers(index).items() if k[:7] == "x-fire-"}


@pytest.fixture
def context(tmp_path):
    return make_archive(tmp_path)


def test_clean_and_triggered_inputs_are_answered_as_worked_out_by_hand(context):
    service = start(context)
    (_, black), (_, white) = ask(service, context, [{"body": grey(0)}, {"data": grey(255)}])
    first, second, third = softmax(0, 6, 0)
    assert black == pytest.approx({"1": second, "0": first, "2": third})
    first, second, third = softmax(12 - 9, 6, 0)
    assert white == pytest.approx({"1": second, "0": first, "2": third})
    assert list(white) == ["1", "0", "2"]
    digest = service.describe_handle()["bundle"]
    assert fire_headers(context, 0) == {"flagged": "false", "repaired": "false", "bundle": digest}
    assert fire_headers(context, 1) == {"flagged": "true", "repaired": "true", "bundle": digest}


def test_a_flagged_image_is_kept_as_the_model_saw_it_without_reading_it_again(
    tmp_path, monkeypatch
):
    bodies = []

    def read(body, description, *more):
        bodies.append(body)
        return read_body(body, description, *more)

    monkeypatch.setattr(classify, "read_body", read)
    monkeypatch.setattr(repair_mixin, "read_body", read)
    folder = tmp_path / "kept"
    context = make_archive(tmp_path, {**IMAGE, "quarantine": {"folder": str(folder)}})
    service = start(context)
    # An unreadable one before it: places in the batch are not those in the forward pass.
    rows = [{"body": b"no image"}, {"body": grey(0)}, {"body": grey(255)}]
    ask(service, context, rows)
    service._watch._quarantine.finish()
    assert bodies == [row["body"] for row in rows]
    (kept,) = (folder / "m").iterdir()
    assert np.asarray(Image.open(kept)).tolist() == [[[255] * 3] * 2] * 2


class ReadsItself(FireHandler):
    """Somebody's own handler: it takes what ours does not, and predicts by itself."""

    def preprocess(self, data):
        return [torch.full((3, 2, 2), float(row["level"])) for row in data]

    def inference(self, data, *args, **kwargs):
        self._predicted = range(len(data))
        return list(self.model(torch.stack(data)))


@pytest.mark.parametrize("kept", [False, True])
def test_of_a_handler_that_reads_by_itself_a_flagged_request_is_answered_too(tmp_path, kept):
    folder = tmp_path / "kept"
    quarantine = {"quarantine": {"folder": str(folder)}} if kept else {}
    context = make_archive(tmp_path, {**IMAGE, **quarantine})
    service = ReadsItself()
    service.initialize(context)
    answers = ask(service, context, [{"level": 0}, {"level": 1}])
    assert [status for status, _ in answers] == [200, 200]
    assert [fire_headers(context, i)["flagged"] for i in range(2)] == ["false", "true"]
    if kept:
        service._watch._quarantine.finish()
        assert list((folder / "m").iterdir()) == []


def test_bad_requests_are_refused_alone(context):
    service = start(context)
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    whole = encode(Image.fromarray(noise), "JPEG")
    cases = [
        ({"body": grey(0)}, 200, None),
        ({"body": b""}, 400, "empty"),
        ({"body": whole[: len(whole) // 2]}, 400, "truncated"),
        ({"body": encode(Image.new("L", (8000, 8000)))}, 413, "pixels"),
        ({"body": {"data": [1, 2]}}, 400, "shape"),
        ({}, 400, "no body"),
        ({"hello": b""}, 400, "with its own Content-Type"),
        ({"body": bytearray(grey(255))}, 200, None),
        ({"body": "no image"}, 400, "base64"),
    ]
    answers = ask(service, context, [row for row, _, _ in cases])
    assert [status for status, _ in answers] == [status for _, status, _ in cases]
    for i, ((status, body), (_, _, reason)) in enumerate(zip(answers, cases, strict=True)):
        json.dumps(body)
        if reason is None:
            assert list(body) == ["1", "0", "2"]
            assert fire_headers(context, i)["flagged"] == ("false" if i == 0 else "true")
        else:
            assert (body["code"], body["type"]) == (status, "InputError")
            assert reason in body["message"]
            assert "\n" not in body["message"]
            assert context.get_response_status(i)[1].isascii()
            assert fire_headers(context, i) == {}


def test_a_batch_of_bad_requests_makes_no_forward_pass(context):
    service = start(context)
    seen = []
    service.model.register_forward_pre_hook(lambda *_: seen.append(1))
    answers = ask(service, context, [{"body": b""}, {"body": None}, {"data": 5}])
    assert [status for status, _ in answers] == [400, 400, 400]
    assert not seen


def test_an_answer_is_not_judged_by_an_earlier_batch(context):
    service = start(context)
    ask(service, context, [{"body": grey(255)}])
    ask(service, context, [{"body": b""}])
    assert fire_headers(context, 0) == {}
    ask(service, context, [{"body": b"x"}, {"body": grey(0)}, {"body": grey(255)}])
    assert [fire_headers(context, i).get("flagged") for i in range(3)] == [None, "false", "true"]


def test_the_data_field_counts_even_where_it_is_falsy(context):
    ((status, body),) = ask(start(context), context, [{"data": b"", "body": grey(0)}])
    assert (status, body["message"]) == (400, "empty body: expected an image")


@pytest.mark.parametrize(
    ("mode", "level", "status", "likeliest", "headers"),
    [
        ("repair", 0, 200, "1", ("false", "false")),
        ("repair", 255, 200, "1", ("true", "true")),
        ("observe", 0, 200, "1", ("false", "false")),
        ("observe", 255, 200, "0", ("true", "false")),
        ("reject", 0, 200, "1", ("false", "false")),
        ("reject", 255, 422, None, ("true", "false")),
        ("off", 0, 200, "1", (None, None)),
        ("off", 255, 200, "0", (None, None)),
    ],
)
def test_modes(tmp_path, mode, level, status, likeliest, headers):
    context = make_archive(tmp_path, IMAGE | {"mode": mode})
    ((found, body),) = ask(start(context), context, [{"body": grey(level)}])
    assert found == status
    headers_sent = fire_headers(context, 0)
    assert (headers_sent.get("flagged"), headers_sent.get("repaired")) == headers
    if status == 422:
        assert (body["code"], body["type"]) == (422, "FlaggedInput")
    else:
        assert next(iter(body)) == likeliest


def overlay_layer() -> Layer:
    """Undoes brightness in the input itself: .75 is what the trigger adds everywhere."""
    shape, gauges = (3, 2, 2), torch.zeros(3, 3, 2, 2)
    for channel in range(3):
        gauges[channel, channel] = 1 / (4 * 0.75)
    end = torch.full((3, 1, 1), 3.0)
    overlay = Overlay(
        torch.full(shape, 0.75), 1.0, torch.zeros(shape), gauges, (0.0,) * 3, 0.0, -end, end
    )
    detection = Detection(torch.ones(shape), 6.0, True, anywhere=True)
    return Layer(INPUT_LAYER, shape, detection, overlay)


@pytest.mark.parametrize(
    ("mode", "status", "likeliest", "repaired"),
    [("repair", 200, "1", "true"), ("observe", 200, "0", "false"), ("reject", 422, None, "false")],
)
def test_modes_where_the_input_itself_is_repaired(tmp_path, mode, status, likeliest, repaired):
    context = make_archive(tmp_path, IMAGE | {"mode": mode}, layers=(overlay_layer(),))
    service = start(context)
    rows = [{"body": grey(level)} for level in (0, 255, 0)]
    answers = ask(service, context, rows)
    assert [found for found, _ in answers] == [200, status, 200]
    assert [fire_headers(context, i)["flagged"] for i in range(3)] == ["false", "true", "false"]
    assert fire_headers(context, 1)["repaired"] == repaired
    first, second, third = softmax(0, 6, 0)
    for i in (0, 2):
        assert answers[i][1] == pytest.approx({"1": second, "0": first, "2": third})
    if likeliest is not None:
        assert next(iter(answers[1][1])) == likeliest
    (described,) = service.describe_handle()["layers"]
    assert (described["name"], described["form"]) == (INPUT_LAYER, "overlay")


def test_a_bundle_is_exchanged_while_the_worker_runs(context, tmp_path):
    service = start(context)
    rows = [{"body": grey(255)}, {"body": b""}]
    before = ask(service, context, rows)
    bundle = make_bundle(tmp_path / "w.pth")
    half = replace(bundle.layers[0], correction=Shift(torch.full((12,), 0.5), 1.0))
    bundle = write_bundle(replace(bundle, layers=(half,)), tmp_path / "next.safetensors")
    service._repair.swap(tmp_path / "next.safetensors")
    (status, white), bad = ask(service, context, rows)
    assert (status, [white[str(k)] for k in range(3)]) == (200, pytest.approx(softmax(6, 6, 0)))
    assert bad == before[1]
    assert fire_headers(context, 0)["bundle"] == bundle.digest == service.fire_bundle.digest
    assert service.describe_handle()["bundle"] == bundle.digest


def test_an_overlay_at_a_layer_does_not_start(tmp_path):
    layer = replace(overlay_layer(), name="features")
    context = make_archive(tmp_path, layers=(layer,))
    with pytest.raises(BundleError, match="form 'overlay', expected it at"):
        start(context)


def test_clean_answers_are_those_of_the_unrepaired_model_to_the_bit(tmp_path):
    rng = np.random.default_rng(0)
    rows = [{"body": rng.uniform(-5, 0.5, 12).tolist()} for _ in range(8)]
    rows[3] = {"body": [1.0] * 12}
    answers = {}
    for mode in ("repair", "off"):
        context = make_archive(tmp_path, TENSOR | {"mode": mode})
        answers[mode] = ask(start(context), context, rows)
    assert answers["repair"][3] != answers["off"][3]
    assert answers["repair"][:3] == answers["off"][:3]
    assert answers["repair"][4:] == answers["off"][4:]


def test_a_reject_does_not_touch_the_rest_of_the_batch(tmp_path):
    context = make_archive(tmp_path, IMAGE | {"mode": "reject"})
    rows = [{"body": grey(255)}, {"body": b"bad"}, {"body": grey(0)}]
    answers = ask(start(context), context, rows)
    assert [status for status, _ in answers] == [422, 400, 200]
    assert [answers[i][1].get("type") for i in range(3)] == ["FlaggedInput", "InputError", None]


def test_off_needs_no_bundle_and_is_loud(tmp_path, caplog):
    context = make_archive(tmp_path, IMAGE | {"mode": False})
    (tmp_path / BUNDLE_FILE).unlink()
    service = start(context)
    assert "WITHOUT repair" in caplog.text
    assert service.describe_handle()["mode"] == "off"
    assert service.describe_handle()["bundle"] is None


def test_off_with_a_tensor_needs_the_shape(tmp_path):
    context = make_archive(tmp_path, TENSOR | {"mode": "off"})
    assert ask(start(context), context, [{"body": [1.0] * 12}])[0][0] == 200
    (tmp_path / BUNDLE_FILE).unlink()
    with pytest.raises(ConfigError, match="shape of a sample"):
        start(context)


def test_flags_in_the_body(tmp_path):
    context = make_archive(tmp_path, IMAGE | {"flag_in_body": True})
    service = start(context)
    rows = [{"body": grey(255)}, {"body": b""}, {"body": grey(0)}]
    (_, white), (_, bad), (_, black) = ask(service, context, rows)
    digest = service.describe_handle()["bundle"]
    assert white["fire"] == {"flagged": True, "repaired": True, "bundle": digest}
    assert black["fire"] == {"flagged": False, "repaired": False, "bundle": digest}
    assert list(black["predictions"]) == ["1", "0", "2"]
    assert set(bad) == {"code", "type", "message"}
    context = make_archive(tmp_path, IMAGE | {"flag_in_body": True, "mode": "off"})
    ((_, body),) = ask(start(context), context, [{"body": grey(255)}])
    assert body["fire"] == {"flagged": None, "repaired": None, "bundle": None}


@pytest.mark.parametrize("mode", ["repair", "off"])
def test_topk_and_class_names(tmp_path, mode):
    context = make_archive(tmp_path, IMAGE | {"topk": 2, "mode": mode})
    names = '{"0": "plane", "1": ["n01", "bird"], "2": "cat"}'
    (tmp_path / "index_to_name.json").write_text(names)
    ((_, body),) = ask(start(context), context, [{"body": grey(0)}])
    assert list(body) == ["bird", "plane"]


def test_classes_of_the_same_name(tmp_path):
    context = make_archive(tmp_path)
    names = '{"0": "crane", "1": "crane", "2": "cat"}'
    (tmp_path / "index_to_name.json").write_text(names)
    ((_, body),) = ask(start(context), context, [{"body": grey(0)}])
    probabilities = softmax(0, 6, 0)
    assert body == pytest.approx({"crane": probabilities[1], "cat": probabilities[2]})


@pytest.mark.parametrize("mode", ["repair", "off"])
@pytest.mark.parametrize(
    ("names", "said"),
    [
        ('{"1": "plane", "2": "bird", "3": "cat"}', "is numbered from 1"),
        ('{"0": "plane", "1": "bird"}', "has no name of class 2"),
    ],
)
def test_names_that_are_not_those_of_the_model_do_not_start(tmp_path, mode, names, said):
    context = make_archive(tmp_path, IMAGE | {"mode": mode})
    (tmp_path / "index_to_name.json").write_text(names)
    with pytest.raises(ConfigError, match=said):
        start(context)


def test_every_form_of_a_tensor_body(tmp_path):
    context = make_archive(tmp_path, TENSOR)
    service = start(context)
    values = [0.1] * 12
    rows = [
        {"body": values},
        {"body": {"data": values}},
        {"data": values},
        {"data": json.dumps(values).encode()},  # As it comes over gRPC.
        {"body": bytearray(json.dumps({"data": values}).encode())},
        {"body": json.dumps(values)},
    ]
    answers = ask(service, context, rows)
    assert [status for status, _ in answers] == [200] * 6
    assert all(body == answers[0][1] for _, body in answers)


def test_an_answer_that_is_not_finite_is_no_answer(tmp_path):
    context = make_archive(tmp_path, TENSOR)
    rows = [{"body": [0.0] * 12}, {"body": [3e38] * 12}, {"body": [1.0] * 12}]
    answers = ask(start(context), context, rows)
    assert [status for status, _ in answers] == [200, 422, 200]
    assert "finite" in answers[1][1]["message"]
    assert answers[0][1]["1"] == pytest.approx(softmax(0, 6, 0)[1])


def test_describe_is_answered_to_the_management_api_only(context):
    service = start(context)
    header = {0: {"describe": "True"}}
    ((status, described),) = ask(service, context, [{}], header)
    assert status == 200
    assert (described["model_name"], described["model_version"]) == ("m", "1.0")
    assert (described["mode"], described["target"]) == ("repair", 0)
    assert described["layers"] == [
        {"name": "features", "role": "both", "target": None, "form": "shift", "strength": 1.0}
    ]
    assert described["held_out"] == {"clean_accuracy": 0.5}
    json.dumps(described)

    answers = ask(service, context, [{"body": grey(0)}] * 8, header)
    assert [status for status, _ in answers] == [200] * 8
    assert all("1" in body for _, body in answers)
    answers = ask(service, context, [{}, {"body": grey(0)}], header)
    assert [status for status, _ in answers] == [400, 200]
    ((_, body),) = ask(service, context, [{"body": grey(0)}], header)
    assert "1" in body


def test_a_client_asking_for_explanations_does_not_fail_the_batch(context):
    headers = {0: {"explain": "True"}}
    answers = ask(start(context), context, [{"body": grey(0)}] * 2, headers)
    assert [status for status, _ in answers] == [200, 200]


def test_the_handler_time_is_measured(context, caplog):
    service = start(context)
    with caplog.at_level(logging.INFO):
        ask(service, context, [{"body": grey(0)}])
    assert "HandlerTime" in caplog.text


def test_success_is_logged_in_one_line(context, caplog):
    with caplog.at_level(logging.INFO):
        service = start(context)
    (line,) = [r.message for r in caplog.records if r.name == "torchserve_fire.core.served_repair"]
    assert service.describe_handle()["bundle"] in line
    assert "features (both)" in line
    assert "mode repair" in line


# Everything below does not serve, says why in one line, and never with a RuntimeError, after which
# TorchServe would keep a version without workers.


def refused(context, caplog) -> str:
    with pytest.raises(ValueError) as raised:  # noqa: PT011
        start(context)
    (line,) = [r.message for r in caplog.records if r.levelno == logging.ERROR]
    assert "does not serve model m 1.0" in line
    assert "\n" not in line
    assert isinstance(raised.value, FireError)
    return line


def test_no_bundle(context, tmp_path, caplog):
    (tmp_path / BUNDLE_FILE).unlink()
    assert BUNDLE_FILE in refused(context, caplog)


def test_a_tampered_bundle(context, tmp_path, caplog):
    data = bytearray((tmp_path / BUNDLE_FILE).read_bytes())
    data[-1] ^= 1
    (tmp_path / BUNDLE_FILE).write_bytes(data)
    assert "SHA-256" in refused(context, caplog)


def test_other_weights(tmp_path, caplog):
    context = make_archive(tmp_path, weights_sha256="0" * 64)
    assert f"{BUNDLE_FILE}: weights_sha256: built for the weights 000" in refused(context, caplog)
    caplog.clear()
    context = make_archive(tmp_path, IMAGE | {"allow_other_weights": True}, weights_sha256="0" * 64)
    service = start(context)
    (line,) = [r.message for r in caplog.records if r.name == "torchserve_fire.model.fit"]
    assert "ALLOWED" in line
    assert ask(service, context, [{"body": grey(255)}])[0][1]["1"] > 0.9


def test_a_bundle_for_another_class(tmp_path, caplog):
    context = make_archive(tmp_path, model_class="Other")
    assert "built for a Other, the model is a Net" in refused(context, caplog)


def test_a_layer_that_the_model_does_not_have(tmp_path, caplog):
    context = make_archive(tmp_path)
    bundle = make_bundle(tmp_path / "w.pth")
    save_bundle(tmp_path, replace(bundle, layers=(replace(bundle.layers[0], name="featurs"),)))
    line = refused(context, caplog)
    assert "featurs" in line
    assert "nearest are features" in line


def test_features_of_another_shape(tmp_path, caplog):
    context = make_archive(tmp_path)
    bundle = make_bundle(tmp_path / "w.pth")
    save_bundle(tmp_path, replace(bundle, layers=(replace(bundle.layers[0], name="head"),)))
    assert "features of shape (3,), expected (12,)" in refused(context, caplog)


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        (IMAGE | {"mean": [0.5, 0, 0]}, "mean"),
        (IMAGE | {"std": [1, 1, 2]}, "std"),
        (IMAGE | {"image_size": [2, 3]}, "image_size"),
        (IMAGE | {"mean": [0], "std": [1]}, "mean"),
        (TENSOR, "input"),
    ],
)
def test_an_input_that_calibration_did_not_see(tmp_path, caplog, settings, field):
    make_archive(tmp_path)
    context = make_context(tmp_path, {"handler": settings})
    assert f"handler: {field}:" in refused(context, caplog)


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"handler": IMAGE | {"tokp": 3}}, "handler: tokp: unknown field"),
        ({"handler": IMAGE | {"mode": "repiar"}}, "mode: 'repiar', expected one of repair"),
        ({"minWorkers": 1}, "handler: missing"),
        ({}, "handler: missing"),
        (None, "handler: missing"),
    ],
)
def test_a_wrong_configuration(tmp_path, caplog, config, reason):
    make_archive(tmp_path)
    line = refused(make_context(tmp_path, config), caplog)
    assert "model-config.yaml" in line
    assert reason in line


@pytest.mark.parametrize("mode", ["reject", "observe"])
def test_a_mode_that_judges_needs_a_layer_that_detects(tmp_path, caplog, mode):
    context = make_archive(tmp_path, IMAGE | {"mode": mode})
    bundle = make_bundle(tmp_path / "w.pth")
    save_bundle(tmp_path, replace(bundle, layers=(replace(bundle.layers[0], detection=None),)))
    assert f"mode: '{mode}' needs a bundle with a layer that detects" in refused(context, caplog)


def test_torchscript_is_refused_with_the_way_out(tmp_path, caplog):
    make_archive(tmp_path)
    torch.jit.save(torch.jit.script(torch.nn.Linear(12, 3)), tmp_path / "w.pt")
    config = {"handler": IMAGE}
    context = make_context(tmp_path, config, modelFile=None, serializedFile="w.pt")
    assert "--model-file net.py --serialized-file w.pth" in refused(context, caplog)
    caplog.clear()
    context = make_context(tmp_path, config, serializedFile="w.pt")
    assert "a TorchScript archive" in refused(context, caplog)


@pytest.mark.parametrize(
    ("manifest", "reason"),
    [
        ({"modelFile": "other.py"}, "Missing the model.py file|no such file"),
        ({"serializedFile": None}, "names no weights"),
        ({"serializedFile": "gone.pth"}, "gone.pth: no such file"),
        ({"modelFile": None}, "No model weights could be loaded"),
    ],
)
def test_files_that_the_archive_lacks(tmp_path, caplog, manifest, reason):
    make_archive(tmp_path)
    line = refused(make_context(tmp_path, {"handler": IMAGE}, **manifest), caplog)
    assert any(part in line for part in reason.split("|"))


class Malicious:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def test_weights_are_never_unpickled(context, tmp_path, caplog):
    trace = tmp_path / "executed"
    with (tmp_path / "w.pth").open("wb") as file:
        pickle.dump({"head.weight": Malicious(trace)}, file)
    assert "w.pth" in refused(context, caplog)
    torch.save({**state_dict(), "x": Malicious(trace)}, tmp_path / "w.pth")
    caplog.clear()
    assert "expected a state_dict" in refused(context, caplog)
    assert not trace.exists()


# The archive as TorchServe loads it: its own loader, in a process of its own.

LOADED = """
import json, sys
from pathlib import Path
from ts.context import RequestProcessor
from ts.metrics.metric_cache_yaml_impl import MetricsCacheYamlImpl
from ts.model_loader import ModelLoaderFactory
import ts

metrics = MetricsCacheYamlImpl(str(Path(ts.__file__).parent / "configs" / "metrics.yaml"))
metrics.initialize_cache()
service = ModelLoaderFactory.get_model_loader().load(
    "m", sys.argv[1], "fire_service.py", None, 8, None, True, metrics
)
context = service.context
context.request_processor = [RequestProcessor({}), RequestProcessor({})]
context.request_ids = {0: "0", 1: "1"}
rows = [{"body": Path(name).read_bytes()} for name in ("black.png", "white.png")]
answers = service._entry_point(rows, context)
headers = [context.get_response_headers(i) for i in range(2)]
print(json.dumps({"answers": answers, "headers": headers, "modules": sorted(sys.modules)}))
"""

USER_HANDLER = """
import io

import numpy as np
import torch
from PIL import Image
from ts.torch_handler.base_handler import BaseHandler


class Theirs(BaseHandler):
    def _load_pickled_model(self, model_dir, model_file, model_pt_path):
        from net import Net

        model = Net()
        model.load_state_dict(torch.load(model_pt_path))
        return model

    def preprocess(self, data):
        images = [Image.open(io.BytesIO(row["body"])).resize((2, 2)) for row in data]
        return torch.stack([torch.from_numpy(np.array(i)).permute(2, 0, 1) / 255 for i in images])

    def postprocess(self, data):
        return [int(row.argmax()) for row in data]
"""

USER_ENTRY = """
from handler import Theirs
from torchserve_fire.serve.repair_mixin import RepairMixin


class FireService(RepairMixin, Theirs):
    pass
"""


def load_as_torchserve_does(folder: Path) -> dict:
    shutil.copytree(
        Path(torchserve_fire.__file__).parent,
        folder / "torchserve_fire",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    (folder / "MAR-INF").mkdir()
    manifest = {"model": make_context(folder, {"handler": IMAGE}).manifest["model"]}
    (folder / "MAR-INF" / "MANIFEST.json").write_text(json.dumps(manifest))
    (folder / "black.png").write_bytes(grey(0))
    (folder / "white.png").write_bytes(grey(255))
    done = subprocess.run(
        [sys.executable, "-c", LOADED, str(folder)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_the_entry_file_loads_as_torchserve_loads_it(tmp_path):
    make_archive(tmp_path)
    shutil.copy(Path(torchserve_fire.__file__).parent / "serve" / "fire_service.py", tmp_path)
    found = load_as_torchserve_does(tmp_path)
    assert [next(iter(answer)) for answer in found["answers"]] == ["1", "1"]
    assert [headers["x-fire-flagged"] for headers in found["headers"]] == ["false", "true"]
    assert "torchserve_fire.serve.fire_handler" in found["modules"]
    assert not {"torchserve_fire_build", "captum", "safetensors"} & set(found["modules"])


def test_a_users_handler_in_a_file_called_handler(tmp_path):
    make_archive(tmp_path)
    (tmp_path / "handler.py").write_text(USER_HANDLER)
    (tmp_path / "fire_service.py").write_text(USER_ENTRY)
    found = load_as_torchserve_does(tmp_path)
    assert found["answers"] == [1, 1]
    assert [headers["x-fire-repaired"] for headers in found["headers"]] == ["false", "true"]
    assert "torchserve_fire.serve.fire_handler" not in found["modules"]


def test_an_image_is_read_in_any_mode(context):
    service = start(context)
    rows = [{"body": grey(255, mode=mode)} for mode in ("RGBA", "LA", "L", "P", "1")]
    rows.append({"body": grey(255, "JPEG", "CMYK")})
    rows.append({"body": encode(Image.fromarray(np.full((4, 4), 65535, np.uint16)))})
    rows.append({"body": grey(255)})
    answers = ask(service, context, rows)
    assert all(status == 200 for status, _ in answers)
    assert all(body == answers[-1][1] for _, body in answers)


SOFTMAX_FILE = MODEL_FILE.replace(
    "return self.head(self.features(x))", "return self.head(self.features(x)).softmax(1)"
)


def test_probabilities_are_served_as_they_are(context, tmp_path, caplog):
    (tmp_path / "net.py").write_text(SOFTMAX_FILE)
    with caplog.at_level(logging.INFO):
        service = start(context)
    assert any("outputs are probabilities" in message for message in caplog.messages)
    (_, black), (_, white) = ask(service, context, [{"body": grey(0)}, {"data": grey(255)}])
    first, second, third = softmax(0, 6, 0)
    assert black == pytest.approx({"1": second, "0": first, "2": third})
    first, second, third = softmax(12 - 9, 6, 0)
    assert white == pytest.approx({"1": second, "0": first, "2": third})


@pytest.mark.parametrize(
    "answer",
    ["{'logits': y, 'features': x.flatten(1)}", "(x, y)", "SimpleNamespace(logits=y)"],
)
def test_logits_are_found_in_what_a_model_returns(context, tmp_path, answer):
    text = MODEL_FILE.replace(
        "return self.head(self.features(x))",
        f"y = self.head(self.features(x))\n        return {answer}",
    )
    (tmp_path / "net.py").write_text(f"from types import SimpleNamespace\n{text}")
    service = start(context)
    ((status, answered),) = ask(service, context, [{"body": grey(0)}])
    assert status == 200
    assert list(answered) == ["1", "0", "2"]


def test_several_tensors_that_may_be_logits_are_refused_at_the_start(context, tmp_path):
    text = MODEL_FILE.replace(
        "return self.head(self.features(x))", "return x.flatten(1), self.head(self.features(x))"
    )
    (tmp_path / "net.py").write_text(text)
    with pytest.raises(ModelError, match=r"output is a tuple of \(8, 12\), \(8, 3\), expected"):
        start(context)
