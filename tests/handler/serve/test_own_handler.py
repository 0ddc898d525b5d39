"""The repair around handlers that prepare inputs in a way of their own, functions among them."""

import base64
import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch
import yaml
from ts.torch_handler.base_handler import BaseHandler

from tests.handler.archive import TENSOR, ask, make_archive, make_bundle, state_dict
from torchserve_fire.core import bundle_folder
from torchserve_fire.errors import AttachError, ModelError
from torchserve_fire.format.bundle_file import save_bundle as write_bundle
from torchserve_fire.model.config import SETTINGS_FILE
from torchserve_fire.serve.function_handler import FunctionHandler, find_model
from torchserve_fire.serve.repair_mixin import RepairMixin

BLACK, WHITE = {"body": {"levels": "0 " * 12}}, {"body": {"levels": "1 " * 12}}
EXAMPLE = json.dumps(BLACK["body"]).encode()


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.features = torch.nn.Flatten()
        self.head = torch.nn.Linear(12, 3)

    def forward(self, x):
        return self.head(self.features(x))


def make_model() -> Net:
    model = Net().eval()
    model.load_state_dict(state_dict())
    return model


def answer(model, data) -> list:
    rows = [(row.get("body") or row.get("data"))["levels"].split() for row in data]
    output = model(torch.tensor([[float(level) for level in row] for row in rows]))
    return [{"theirs": int(row.argmax())} for row in output]


class Levels(BaseHandler):
    """Overrides `handle` and has no preprocess of its own."""

    def initialize(self, context):
        self.model = make_model()

    def handle(self, data, context):
        return answer(self.model, data)

    preprocess = None


def function_handler() -> type[FunctionHandler]:
    """A module with a function, in TorchServe's usual form."""
    module = ModuleType("theirs")
    module.__dict__["_service"] = holder = type("Service", (), {"model": None})()

    def handle(data, context):
        if holder.model is None:
            holder.model = make_model()
        return None if data is None else answer(holder.model, data)

    names = {"module": module, "function": staticmethod(handle)}
    return type("Function", (FunctionHandler,), names)


def start(folder: Path, base: type, example: bytes | None = EXAMPLE, **settings):
    context = make_archive(folder, TENSOR)
    (folder / "model-config.yaml").write_text("handler: [theirs]\n")
    if example is not None:
        settings["example"] = "fire_example.json"
        (folder / "fire_example.json").write_bytes(example)
    (folder / SETTINGS_FILE).write_text(
        yaml.safe_dump({"handler": {"input": "handler"} | settings})
    )
    service = type("Repaired", (RepairMixin, base), {})()
    service.initialize(context)
    return service, context


@pytest.fixture(params=["class", "function"])
def base(request) -> type:
    return Levels if request.param == "class" else function_handler()


def test_it_answers_in_its_own_way_and_is_repaired(tmp_path, base):
    service, context = start(tmp_path, base)
    # White would be class 0; the handler's own settings are not read as those of the repair.
    assert ask(service, context, [BLACK, WHITE]) == [(200, {"theirs": 1}), (200, {"theirs": 1})]
    flags = [context.get_response_headers(i)["x-fire-flagged"] for i in (0, 1)]
    assert flags == ["false", "true"]


def test_a_bundle_is_exchanged_while_the_worker_runs(tmp_path, base):
    """It proves itself by the archive's example, which is no request."""
    service, context = start(tmp_path, base)
    bundle = replace(make_bundle(tmp_path / "w.pth", "tensor"), seed=1)
    digest = write_bundle(bundle, tmp_path / "next.safetensors").digest
    service._repair.swap(tmp_path / "next.safetensors")
    assert service.describe_handle()["counts"]["judged"] == 0
    assert ask(service, context, [BLACK, WHITE]) == [(200, {"theirs": 1}), (200, {"theirs": 1})]
    assert context.get_response_headers(1)["x-fire-bundle"] == digest


def test_a_bundle_from_a_folder_is_proved_amid_a_batch_that_stays_what_it_is(
    tmp_path, base, monkeypatch
):
    monkeypatch.setattr(bundle_folder, "SECONDS", 0.0)
    folder = tmp_path / "bundles"
    folder.mkdir()
    service, context = start(tmp_path, base, bundle_folder=str(folder))
    bundle = replace(make_bundle(tmp_path / "w.pth", "tensor"), seed=1)
    digest = write_bundle(bundle, folder / "next.safetensors").digest
    assert ask(service, context, [BLACK, WHITE]) == [(200, {"theirs": 1}), (200, {"theirs": 1})]
    headers = [context.get_response_headers(i) for i in (0, 1)]
    assert [each["x-fire-bundle"] for each in headers] == [digest] * 2
    assert [each["x-fire-flagged"] for each in headers] == ["false", "true"]
    assert service.describe_handle()["counts"]["judged"] == 2


def test_the_example_is_no_request(tmp_path, base):
    """It is put through twice when a worker starts, once as if it was flagged; nothing counts."""
    service, context = start(tmp_path, base)
    described = service.describe_handle()
    assert described["counts"]["judged"] == 0
    assert described["input"]["prepared_by"] == "handler"
    example = described["input"]["example"]
    assert base64.b64decode(example["body"]) == EXAMPLE
    assert example["suffix"] == ".json"
    ask(service, context, [BLACK])
    assert service.describe_handle()["counts"]["flagged"] == 0


def test_an_example_that_is_large_is_not_told(tmp_path, base):
    large = EXAMPLE + b" " * 70_000
    service, _ = start(tmp_path, base, large)
    assert "example" not in service.describe_handle()["input"]


def test_an_example_that_the_handler_does_not_take(tmp_path, base):
    with pytest.raises(AttachError, match="list indices must be integers"):
        start(tmp_path, base, b"[1, 2]")


def test_what_is_kept_is_what_was_sent(tmp_path, base):
    folder = tmp_path / "kept"
    service, context = start(tmp_path, base, quarantine={"folder": str(folder)})
    ask(service, context, [BLACK, WHITE, {"data": WHITE["body"]}])
    service._watch._quarantine.finish()
    (kept,) = (folder / "m").iterdir()
    assert kept.suffix == ".json"
    assert json.loads(kept.read_bytes()) == WHITE["body"]


def test_where_a_function_keeps_its_model():
    module = ModuleType("theirs")
    with pytest.raises(ModelError, match=r"theirs.py: its function keeps no model"):
        find_model(module)
    module.__dict__["net"] = net = make_model()
    # A class of models is none, nor is what is not there yet.
    module.__dict__.update(Net=Net, service=type("Service", (), {"model": None})())
    assert find_model(module) is net
    module.__dict__["service"] = type("Service", (), {"model": net})()
    assert find_model(module) is net
    module.__dict__["another"] = make_model()
    with pytest.raises(ModelError, match="keeps several models"):
        find_model(module)
