"""The repair of `torch.export` programs, whose layers run hooks once they are unflattened."""

import hashlib
import shutil

import pytest
import torch
from torch import nn
from torch.export import Dim, export, save

from tests.handler.archive import (
    IMAGE,
    MODEL_FILE,
    ask,
    grey,
    make_archive,
    make_context,
    state_dict,
)
from torchserve_fire.errors import ModelError
from torchserve_fire.format.bundle import Detection, Layer
from torchserve_fire.format.correction_forms import Shift
from torchserve_fire.model.exported_program import load_exported
from torchserve_fire.model.load_model import load_model
from torchserve_fire.repair.attach_layers import attach_layers
from torchserve_fire.serve.fire_handler import FireHandler

SIZES = (8, 1, 3)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.second = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        return self.head(self.drop(self.second(self.first(x).relu()).mean((2, 3))))


def write(folder, model, example, *, batch=True, name="net.pt2"):
    shapes = ({0: Dim("batch")},) if batch else None
    save(export(model, (example,), dynamic_shapes=shapes), folder / name)
    return folder / name


@pytest.fixture
def net() -> Net:
    torch.manual_seed(0)
    return Net().eval()


def layers(passes: int) -> list[Layer]:
    weight, shift = torch.randn(8, 6, 6), Shift(torch.randn(8, 1, 1), 1.0)
    if passes == 1:
        return [Layer("second", (8, 6, 6), Detection(weight, 0.0), shift)]
    detection = Layer("second.2", (8, 6, 6), Detection(weight, 0.0))
    return [detection, Layer("first", (8, 6, 6), correction=shift)]


@pytest.mark.parametrize("passes", [1, 2])
def test_answers_are_those_of_the_model_that_was_exported(tmp_path, net, passes):
    images, chosen = torch.randn(8, 3, 6, 6), layers(passes)
    expected = []
    with attach_layers(net, chosen, images[:1]) as handle, torch.inference_mode():
        for size in SIZES:
            expected.append((net(images[:size]), handle.verdict.flagged))
        assert 0 < int(expected[0][1].sum()) < 8
    program = load_model(None, write(tmp_path, net, images[:2])).model
    with attach_layers(program, chosen, images[:1]) as handle, torch.inference_mode():
        assert handle.passes == passes
        for size, (answers, flagged) in zip(SIZES, expected, strict=True):
            assert torch.allclose(program(images[:size]), answers, atol=1e-5)
            assert torch.equal(handle.verdict.flagged, flagged)
    with torch.inference_mode():
        assert torch.allclose(program(images), net(images), atol=1e-6)


def test_layers_keep_their_names(tmp_path, net):
    program = load_exported(write(tmp_path, net, torch.zeros(2, 3, 6, 6)))
    assert [name for name, _ in program.named_modules()] == [n for n, _ in net.named_modules()]
    assert not any(module.training for module in program.modules())


def test_one_batch_size_only_is_refused(tmp_path, net):
    path = write(tmp_path, net, torch.zeros(2, 3, 6, 6), batch=False)
    with pytest.raises(ModelError, match="a batch size of 2 only: export it with dynamic_shapes"):
        load_exported(path)


@pytest.mark.parametrize("part", [nn.Dropout(0.5), nn.BatchNorm1d(4)])
def test_training_mode_is_refused(tmp_path, part):
    path = write(tmp_path, nn.Sequential(nn.Linear(4, 4), part).train(), torch.zeros(2, 4))
    with pytest.raises(ModelError, match="exported in training mode"):
        load_exported(path)


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04 and so on"])
def test_what_is_no_program(tmp_path, content):
    path = tmp_path / "net.pt2"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelError, match="expected a") as raised:
        load_exported(path)
    assert "\n" not in str(raised.value)


def test_a_state_dict_is_no_program(tmp_path, net):
    torch.save(net.state_dict(), tmp_path / "net.pt2")
    with pytest.raises(ModelError, match=r"saved with torch\.export\.save"):
        load_exported(tmp_path / "net.pt2")


@pytest.mark.parametrize(("model_file", "weights"), [(None, "w.pth"), ("net.py", "net.pt2")])
def test_a_program_stands_for_itself_and_weights_do_not(tmp_path, model_file, weights):
    with pytest.raises(ModelError, match="expected a model file"):
        load_model(model_file, tmp_path / weights)


def exported_archive(folder):
    """Fill `folder` as an unpacked archive with the tiny model as a program."""
    scope: dict = {}
    exec(MODEL_FILE, scope)  # noqa: S102 - the tests' own.
    model = scope["Net"]().eval()
    model.load_state_dict(state_dict())
    path = write(folder, model, torch.zeros(2, 3, 2, 2))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    make_archive(folder, model_class="UnflattenedModule", weights_sha256=digest)
    return make_context(folder, {"handler": IMAGE}, serializedFile="net.pt2", modelFile=None)


def test_a_program_is_served(tmp_path):
    context = exported_archive(tmp_path)
    (tmp_path / "net.py").unlink()
    service = FireHandler()
    service.initialize(context)
    rows = [{"body": grey(255)}, {"body": grey(0)}, {"body": b""}]
    answers = ask(service, context, rows)
    assert [status for status, _ in answers] == [200, 200, 400]
    assert [max(body, key=body.get) for _, body in answers[:2]] == ["1", "1"]
    flags = [context.get_response_headers(i)["x-fire-flagged"] for i in range(2)]
    assert flags == ["true", "false"]


def test_a_bundle_for_another_program_is_refused(tmp_path, net):
    context = exported_archive(tmp_path)
    shutil.copyfile(
        write(tmp_path, net, torch.zeros(2, 3, 2, 2), name="o.pt2"), tmp_path / "net.pt2"
    )
    with pytest.raises(ValueError, match="weights_sha256"):
        FireHandler().initialize(context)
