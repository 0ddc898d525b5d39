import pytest
import torch
from torch import nn

from benchmarks.measure import best_reader, hold, measure_baseline, measure_defence
from benchmarks.victims.attacks.badnets import BadNets
from benchmarks.victims.attacks.tact import TaCT
from benchmarks.victims.data import Images
from benchmarks.victims.train import normalise
from torchserve_fire_build.rivals.rival import Answers, answer_with


class Fooled(nn.Module):
    """Says 0 where the corner is white, else 1."""

    def forward(self, x):
        triggered = x[:, 0, -1, -1] > 1.5
        return torch.stack([triggered.float(), (~triggered).float()], 1)


class Honest(nn.Module):
    def forward(self, x):
        return torch.tensor([[0.0, 1.0]]).expand(len(x), 2)


IMAGES = Images(torch.full((4, 3, 8, 8), 9, dtype=torch.uint8), torch.tensor([0, 1, 1, 1]))


def test_images_of_the_wanted_class_are_not_triggered():
    held = hold(BadNets(), IMAGES)
    assert held.partners.tolist() == [1, 2, 3]
    assert held.triggered.labels.tolist() == [1, 1, 1]
    assert held.wanted.tolist() == [0, 0, 0]


def test_only_images_of_a_source_class_are_triggered():
    held = hold(TaCT(), Images(IMAGES.pixels, torch.tensor([0, 1, 2, 1])))
    assert held.partners.tolist() == [1, 3]
    assert held.wanted.tolist() == [0, 0]


def test_the_baseline_by_hand():
    found = measure_baseline(Fooled(), Honest(), hold(BadNets(), IMAGES))
    assert found.clean_accuracy == 0.75
    assert found.attack_success_rate == 1
    assert found.recovered_accuracy == 0
    assert found.clean_partners == 1
    assert found.natural_rate == 0
    assert (found.benign, found.benign_clean) == (1, 1)


def test_a_defence_by_hand():
    white = normalise(torch.ones(1, 3, 1, 1))[0, 0, 0, 0]

    def answer(images):
        flagged = images[:, 0, -1, -1] == white
        return Answers(torch.ones(len(images), dtype=torch.int64), flagged, 1 + flagged.float())

    found = measure_defence(answer, hold(BadNets(), IMAGES))
    assert (found.clean_accuracy, found.recovered_accuracy) == (0.75, 1)
    assert found.attack_success_rate == 0
    assert (found.flagged_clean, found.flagged_triggered) == (0, 1)
    assert (found.passes_clean, found.passes_triggered) == (1, 2)


@pytest.mark.parametrize(("prepare", "rate"), [(None, 1), (lambda images: 0 * images, 0)])
def test_no_defence_is_the_victim_and_a_change_of_the_images_is_seen(prepare, rate):
    found = measure_defence(answer_with(Fooled(), prepare), hold(BadNets(), IMAGES))
    assert found.attack_success_rate == rate
    assert found.flagged_clean is None


def test_the_best_reader_is_right_on_most_images():
    images = Images(torch.zeros(4, 3, 2, 2, dtype=torch.uint8), torch.tensor([0, 1, 1, 1]))

    class Always(nn.Module):
        def __init__(self, answer):
            super().__init__()
            self.answer = answer

        def forward(self, x):
            return torch.eye(2)[self.answer].expand(len(x), 2)

    models = [Always(0), Always(1)]
    assert best_reader(models, images) is models[1]
    assert best_reader([], images) is None
