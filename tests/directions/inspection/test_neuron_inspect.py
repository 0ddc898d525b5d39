import weakref

import pytest
import torch
from torch import nn

from tests.directions.backdoored import write_tensors
from tests.directions.inspection.nets import SIZE, QuadrantNet
from torchserve_fire_build.common.budget import Budget
from torchserve_fire_build.inspection import neuron_inspect as module
from torchserve_fire_build.inspection.inspection import MAX_CLASSES, Inspection
from torchserve_fire_build.inspection.neuron_inspect import (
    BATCH,
    LAPLACIAN,
    WEIGHTS,
    neuron_inspect,
    saliency_maps,
)
from torchserve_fire_build.measure.anomaly_index import anomaly_index
from torchserve_fire_build.samples.read_tensors import read_tensors


def samples(folder, shape=(1, SIZE, SIZE), count=40):
    inputs = torch.rand(count, *shape, generator=torch.Generator().manual_seed(0))
    return read_tensors(write_tensors(folder / "clean.npz", inputs))


def inspected(model, clean, classes=6, budget=None, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return neuron_inspect(model, clean, classes, generator, budget or Budget())


@pytest.mark.parametrize("shape", [(1, SIZE, SIZE), (SIZE, SIZE)])
def test_a_class_that_depends_on_a_corner_stands_out(tmp_path, shape):
    found = inspected(QuadrantNet(corner=20), samples(tmp_path, shape))
    assert found.suspects == [2]
    assert found.pictures.shape == (6, SIZE, SIZE)
    # The brightest place of its picture is the trigger's.
    assert found.pictures[2].argmax() == 0
    assert "40 clean samples" in found.notes[0]


def test_a_feature_with_a_weight_of_0_does_not_count(tmp_path):
    given = (QuadrantNet(corner=20), samples(tmp_path), 6)
    alone = {}
    for name in WEIGHTS:
        weights = {each: float(each == name) for each in WEIGHTS}
        generator = torch.Generator().manual_seed(0)
        alone[name] = neuron_inspect(*given, generator, Budget(), weights).index
    assert int(alone["sparse"].argmax()) == 2
    # The maps of a linear net are the same for all samples.
    assert alone["persistent"] is None
    # What all features are multiplied by changes nothing.
    twice = {name: 2 * weight for name, weight in WEIGHTS.items()}
    generator = torch.Generator().manual_seed(0)
    found = neuron_inspect(*given, generator, Budget(), twice).index
    torch.testing.assert_close(found, inspected(*given).index)


def test_its_benign_twin(tmp_path):
    found = inspected(QuadrantNet(), samples(tmp_path))
    assert found.found is False
    assert found.index.abs().max() == 0


def test_a_saliency_map_is_the_scaled_gradient_of_a_logit():
    class Squares(nn.Module):
        def forward(self, x):
            return (
                torch.stack([(x[:, 0] ** 2).sum((1, 2)), x[:, 1].sum((1, 2)), x[:, 0, 0, 0] * 0])[
                    :, :, None
                ]
                .squeeze(2)
                .T
            )

    inputs = torch.rand(5, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    maps = list(saliency_maps(Squares(), inputs, range(3)))
    largest = inputs[:, 0].flatten(1).amax(1)[:, None, None]
    assert torch.allclose(maps[0], inputs[:, 0] / largest)
    assert maps[1].eq(1).all()
    assert maps[2].eq(0).all()


def in_one_piece(model, inputs):
    """The index and the mean maps, from the maps of all classes at once."""
    inputs = inputs.requires_grad_()
    logits = model(inputs)
    maps = torch.stack(
        [
            torch.autograd.grad(logits[:, c].sum(), inputs, retain_graph=True)[0].abs().amax(1)
            for c in range(logits.shape[1])
        ]
    )
    maps = maps / maps.amax((2, 3), keepdim=True)
    kernel = torch.tensor(LAPLACIAN).view(1, 1, 3, 3)
    filtered = nn.functional.conv2d(maps.flatten(0, 1)[:, None], kernel).abs()
    bright = maps > maps.mean((2, 3), keepdim=True)
    differ = (bright[:, 1:] ^ bright[:, :-1]).float().mean((1, 2, 3))
    total = maps.mean((1, 2, 3)) + filtered.view(*maps.shape[:2], -1).mean((1, 2)) + differ
    return anomaly_index(total, suspicious="low"), maps.mean(1)


@pytest.mark.parametrize("classes", [5, MAX_CLASSES, MAX_CLASSES + 9])
def test_class_by_class_is_the_same_as_in_one_piece(tmp_path, classes):
    torch.manual_seed(classes)
    net = nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(4 * 36, classes)
    ).eval()
    clean = samples(tmp_path, (2, 8, 8), count=20)
    found = inspected(net, clean, classes)
    order = torch.randperm(20, generator=torch.Generator().manual_seed(0))
    index, maps = in_one_piece(net, clean.load(order.tolist()))
    torch.testing.assert_close(found.index, index, rtol=1e-3, atol=1e-3)
    shown = range(classes)
    if classes > MAX_CLASSES:
        shown = found.index.argsort(descending=True)[:MAX_CLASSES].tolist()
        assert found.pictured == shown
    torch.testing.assert_close(found.pictures, maps[list(shown)], rtol=1e-3, atol=1e-5)


def test_maps_of_one_class_are_there_at_a_time(tmp_path, monkeypatch):
    alive = []

    def watch(*given, work=module.saliency_maps):
        for maps in work(*given):
            alive.append(weakref.ref(maps))
            yield maps
            del maps
            assert sum(one() is not None for one in alive) <= 1

    monkeypatch.setattr(module, "saliency_maps", watch)
    inspected(QuadrantNet(corner=20), samples(tmp_path))
    assert len(alive) == 2 * 6


def test_the_model_is_left_as_it_is(tmp_path):
    model = QuadrantNet(corner=20)
    before = model.weight.clone()
    inspected(model, samples(tmp_path))
    assert model.weight.equal(before)
    assert model.weight.grad is None
    assert model.weight.requires_grad


def test_with_a_spent_budget_the_samples_seen_so_far_are_used(tmp_path):
    found = inspected(QuadrantNet(corner=20), samples(tmp_path, count=200), budget=Budget(0))
    assert found.suspects == [2]
    assert f"of {BATCH} clean samples" in found.notes[0]


def test_the_same_seed_gives_the_same(tmp_path):
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 9), nn.Tanh(), nn.Linear(9, 6))
    clean = samples(tmp_path)
    one, two = (inspected(net, clean, seed=3) for _ in range(2))
    assert one.index.equal(two.index)
    assert one.pictures.equal(two.pictures)


@pytest.mark.parametrize(
    ("shape", "classes", "count", "reason"),
    [
        ((6,), 6, 9, "maps"),
        ((2, 9), 6, 9, "maps"),
        ((9, 9), 3, 9, "classes"),
        ((8, 8), 6, 1, "two"),
    ],
)
def test_where_it_cannot_tell(tmp_path, shape, classes, count, reason):
    found = inspected(QuadrantNet(classes), samples(tmp_path, shape, count), classes)
    assert isinstance(found, Inspection)
    assert found.found is None
    assert reason in found.notes[0]


def test_a_model_that_does_not_depend_on_its_input_has_no_index(tmp_path):
    class Still(nn.Module):
        def forward(self, x):
            return 0 * x.flatten(1)[:, :6]

    assert inspected(Still(), samples(tmp_path)).found is None
