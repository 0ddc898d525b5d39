import time

import pytest
import torch
from torch import nn

from tests.directions.backdoored import clean_inputs, labels_of
from tests.directions.sanitize.nets import accuracy, clean_samples, generator
from torchserve_fire_build.common.errors import SanitizeError
from torchserve_fire_build.sanitize.training import Schedule, train

SHORT = Schedule(4, 0.5)


def new_net(*, dropout=0.0):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(6, 8), nn.Dropout(dropout), nn.ReLU(), nn.Linear(8, 4))


def trained(clean, *, seed=0, schedule=SHORT, dropout=0.0, **options):
    net = new_net(dropout=dropout)
    epochs = train(net, clean, schedule, generator(seed), **options)
    return net, epochs


def test_a_model_learns_and_ends_in_evaluation_mode(tmp_path):
    clean = clean_samples(tmp_path, "vector", 512)
    net, epochs = trained(clean, schedule=Schedule(20, 0.5))
    assert epochs == 20
    assert not any(module.training for module in net.modules())
    labels = labels_of(60)
    assert accuracy(net, clean_inputs("vector", labels, 7), labels) > 0.95


def test_the_generator_decides_and_nothing_else_is_touched(tmp_path):
    clean = clean_samples(tmp_path, "vector")
    state = torch.get_rng_state()
    first, again, other = (trained(clean, seed=seed, dropout=0.5)[0] for seed in (0, 0, 1))
    assert torch.equal(first[0].weight, again[0].weight)
    assert not torch.equal(first[0].weight, other[0].weight)
    assert torch.equal(torch.get_rng_state(), state)


def test_fewer_samples_than_a_batch_are_one_batch(tmp_path):
    seen = []

    def watch(inputs, generator):
        seen.append(len(inputs))
        return inputs

    trained(clean_samples(tmp_path, "vector", 40), augment=watch)
    assert seen == [40] * 4
    seen.clear()
    # What does not fill a batch waits for another epoch's order.
    trained(clean_samples(tmp_path, "vector", 300), augment=watch)
    assert seen == [128] * 8


def test_a_model_is_trained_on_augmented_samples(tmp_path):
    clean = clean_samples(tmp_path, "vector", 512)
    net, _ = trained(clean, schedule=Schedule(20, 0.5), augment=lambda x, g: x.roll(1, 1))
    labels = labels_of(60)
    inputs = clean_inputs("vector", labels, 7)
    assert accuracy(net, inputs.roll(1, 1), labels) > 0.95
    assert accuracy(net, inputs, labels) < 0.5


def test_when_the_budget_ends_the_training_the_rate_is_low(tmp_path, monkeypatch):
    clean, rates, now = clean_samples(tmp_path, "vector"), [], [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    step = torch.optim.SGD.step

    def slow(self, *args, **kwargs):
        rates.append(self.param_groups[0]["lr"])
        now[0] += 1.0
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.SGD, "step", slow)
    # 200 steps of a second each, in 10 seconds.
    _, epochs = trained(clean, schedule=Schedule(100, 0.1, budget=10.0))
    assert len(rates) == 10
    assert epochs == 5
    assert max(rates) == pytest.approx(0.1, rel=0.1)
    assert rates[-1] < 0.01


def test_a_budget_that_is_not_needed_changes_nothing(tmp_path):
    clean = clean_samples(tmp_path, "vector")
    free, _ = trained(clean)
    bounded, epochs = trained(clean, schedule=Schedule(4, 0.5, budget=1000.0))
    assert epochs == 4
    assert torch.equal(free[0].weight, bounded[0].weight)


def test_at_least_one_step_is_made(tmp_path):
    _, epochs = trained(clean_samples(tmp_path, "vector"), schedule=Schedule(4, 0.5, budget=1e-9))
    assert epochs == 0.5


def test_frozen_parameters_stay(tmp_path):
    net = new_net()
    net[0].requires_grad_(False)
    before = [net[0].weight.clone(), net[3].weight.clone()]
    train(net, clean_samples(tmp_path, "vector"), Schedule(1, 0.1), generator())
    assert torch.equal(net[0].weight, before[0])
    assert not torch.equal(net[3].weight, before[1])
    with pytest.raises(SanitizeError, match="requires_grad"):
        train(net.requires_grad_(False), clean_samples(tmp_path, "vector"), Schedule(), generator())


class Failing(nn.Linear):
    def forward(self, x):
        if self.training:
            raise RuntimeError("not made\nto be trained")
        return super().forward(x)


class Detached(nn.Linear):
    def forward(self, x):
        return super().forward(x).detach()


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (Failing(6, 4), r"Failing: fails in training mode on 40 inputs .*: not made$"),
        (Detached(6, 4), "with gradients"),
    ],
)
def test_a_model_that_cannot_be_trained_is_refused(tmp_path, net, message):
    with pytest.raises(SanitizeError, match=message):
        train(net, clean_samples(tmp_path, "vector", 40), Schedule(), generator())


def test_a_training_that_diverges_is_reported(tmp_path):
    net = nn.Sequential(nn.Linear(6, 8), nn.Linear(8, 4))
    with pytest.raises(SanitizeError, match="diverges"):
        train(net, clean_samples(tmp_path, "vector"), Schedule(50, 1e20), generator())
