"""The repair of a model that torch.compile compiles, as TorchServe does where `pt2:` says so."""

import pytest
import torch
from torch import nn
from torch._dynamo.utils import counters

from tests.handler.archive import ask, grey, make_archive
from torchserve_fire.format.bundle import Detection, Layer
from torchserve_fire.format.correction_forms import Shift
from torchserve_fire.repair.attach_layers import attach_layers
from torchserve_fire.serve.fire_handler import FireHandler

SIZES = (1, 3, 8, 2)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.second = nn.Conv2d(8, 8, 3, padding=1)
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        return self.head(self.second(self.first(x).relu()).relu().mean((2, 3)))


def layers(passes: int, seed: int) -> list[Layer]:
    """Detect at `second`, and repair there, or at `first`, for which a second pass is needed."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(8, 6, 6, generator=generator)
    shift = Shift(torch.randn(8, 1, 1, generator=generator), 1.0)
    if passes == 1:
        return [Layer("second", (8, 6, 6), Detection(weight, 0.0), shift)]
    detection = Layer("second", (8, 6, 6), Detection(weight, 0.0))
    return [detection, Layer("first", (8, 6, 6), correction=shift)]


def graphs() -> int:
    return counters["stats"]["unique_graphs"]


@pytest.fixture
def net() -> Net:
    torch._dynamo.reset()
    counters.clear()
    torch.manual_seed(0)
    return Net().eval()


@pytest.mark.parametrize("passes", [1, 2])
def test_the_same_answers_and_nothing_is_compiled_anew(net, passes):
    images = torch.randn(8, 3, 6, 6)
    compiled = torch.compile(net, backend="eager")
    compiled_graphs = []
    for seed in range(2):
        expected = []
        with attach_layers(net, layers(passes, seed), images[:1]) as handle, torch.inference_mode():
            for size in SIZES:
                expected.append((net(images[:size]), handle.verdict.flagged))
        assert handle.passes == passes
        with (
            attach_layers(compiled, layers(passes, seed), images[:1]) as handle,
            torch.inference_mode(),
        ):
            for size, (answers, flagged) in zip(SIZES, expected, strict=True):
                assert torch.allclose(compiled(images[:size]), answers, atol=1e-5)
                assert torch.equal(handle.verdict.flagged, flagged)
        compiled_graphs.append(graphs())
    assert any(flagged.any() and not flagged.all() for _, flagged in expected)
    # Not for another batch size, and not for another bundle.
    assert compiled_graphs[0] > 0
    assert compiled_graphs == compiled_graphs[:1] * 2


def test_nothing_is_compiled_anew_when_buffers_change(net):
    images = torch.randn(8, 3, 6, 6)
    compiled = torch.compile(net, backend="eager")
    with attach_layers(compiled, layers(1, 0), images[:1]) as handle, torch.inference_mode():
        for size in (*SIZES, 8):
            compiled(images[:size])
        before, flagged = graphs(), handle.verdict.flagged
        handle._attached.judges[0].projection.weight.neg_()
        compiled(images)
        assert torch.equal(handle.verdict.flagged, ~flagged)
        assert graphs() == before > 0


def inductor_works() -> bool:
    """Whether there is what it needs, as a C++ compiler."""
    try:
        torch.compile(torch.neg, backend="inductor")(torch.ones(2))
    except Exception:
        return False
    return True


@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
@pytest.mark.slow
def test_as_torchserve_compiles(tmp_path, monkeypatch, backend):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "inductor"))
    torch._dynamo.reset()
    if backend == "inductor" and not inductor_works():
        pytest.skip("inductor compiles nothing here")
    torch._dynamo.reset()
    counters.clear()
    context = make_archive(tmp_path)
    context.model_yaml_config["pt2"] = {"compile": {"enable": True, "backend": backend}}
    service = FireHandler()
    service.initialize(context)
    for size in SIZES:
        rows = [{"body": grey(255 if i % 2 else 0)} for i in range(size)]
        for i, (status, body) in enumerate(ask(service, context, rows)):
            assert (status, next(iter(body))) == (200, "1")
            flagged = context.get_response_headers(i)["x-fire-flagged"]
            assert flagged == ("true" if i % 2 else "false")
    assert graphs() > 0
