from dataclasses import replace

import pytest
import torch
from torch import nn

from tests.directions.scan.many_net import TARGET, subject
from torchserve_fire_build.common.errors import CalibrationError
from torchserve_fire_build.scan import rank_classes as module
from torchserve_fire_build.scan.rank_classes import late_layers, rank_classes
from torchserve_fire_build.scan.rest_of_model import RestOfModel


def test_the_target_of_a_backdoor_comes_first_of_many_classes():
    scores = rank_classes(subject(), 0)
    assert (scores.shape, scores.dtype) == ((40,), torch.float64)
    assert int(scores.argmax()) == TARGET
    highest, second = scores.topk(2).values.tolist()
    assert highest > 5 > second
    # Each class is scored by the layer and length where it stands out most.
    assert bool((scores >= 0).all())


def test_of_a_benign_twin_no_class_stands_out_so_far():
    assert float(rank_classes(subject(drive=0), 0).max()) < 5


def test_the_layers_are_late_ones_each_once(monkeypatch):
    shifted = []

    class Noting(RestOfModel):
        def __init__(self, model, layer, inputs):
            shifted.append(layer)
            super().__init__(model, layer, inputs)

    monkeypatch.setattr(module, "RestOfModel", Noting)
    rank_classes(subject(), 0)
    assert shifted == ["act"]
    shifted.clear()
    deeper = nn.Sequential(nn.Flatten(), *(nn.Linear(64, 64) for _ in range(6)), nn.Linear(64, 40))
    torch.nn.init.normal_(deeper[-1].weight, generator=torch.Generator().manual_seed(0))
    rank_classes(subject(model=deeper.requires_grad_(False)), 0)
    # Seven layers carry everything to the output: the last one, and that at .8 of the way.
    assert shifted == ["6", "5"]


def test_a_large_layer_makes_way_for_the_next_one_that_is_not(monkeypatch):
    model = nn.Sequential(nn.Flatten(), *(nn.Linear(64, 64) for _ in range(4)))
    model.extend([nn.Linear(64, 96), nn.Linear(96, 32), nn.Linear(32, 40)])
    model.eval().requires_grad_(False)
    assert [rest.layer for rest, _ in late_layers(subject(model=model))] == ["6", "5"]
    monkeypatch.setattr(module, "MOST_FEATURES", 95)
    assert [rest.layer for rest, _ in late_layers(subject(model=model))] == ["6"]
    # Where all are large, the last one is taken.
    monkeypatch.setattr(module, "MOST_FEATURES", 31)
    assert [rest.layer for rest, _ in late_layers(subject(model=model))] == ["6"]


def test_each_of_very_many_classes_gets_fewer_inputs(monkeypatch):
    counts = []

    def note(rest, features, predicted, classes, length, generator, each, done):
        counts.append(each)
        return torch.zeros(classes)

    monkeypatch.setattr(module, "shift_losses", note)
    rank_classes(subject(), 0)
    assert set(counts) == {24}
    counts.clear()
    rank_classes(replace(subject(), classes=201), 0)
    assert set(counts) == {8}


def test_only_the_seed_decides():
    of = subject()
    torch.manual_seed(0)
    state = torch.get_rng_state()
    first = rank_classes(of, 1)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(1)
    assert torch.equal(rank_classes(of, 1), first)


def test_a_model_without_layers():
    class Bare(nn.Module):
        def forward(self, x):
            return x.flatten(1)[:, :40]

    with pytest.raises(CalibrationError, match="no layer carries everything"):
        rank_classes(subject(model=Bare()), 0)
