import pytest
import torch
from torch import nn

from tests.directions.reconstruct.patch_net import images, subject, unit_box
from torchserve_fire_build.reconstruct.stimulation import MULTIPLES, rank_neurons
from torchserve_fire_build.reconstruct.subject import Subject
from torchserve_fire_build.samples.predict import logits_of


def test_elevations_are_those_that_the_weights_give():
    of = subject()
    ranked = rank_neurons(of, "means", 0)
    assert sorted(neuron.channel for neuron in ranked) == [0, 1, 2, 3, 4]
    assert ranked == sorted(ranked, key=lambda neuron: -neuron.elevation)
    means = of.model.means(of.others(0)[:8]).detach()
    value = float(means.max()) * MULTIPLES[-1]
    by_channel = {neuron.channel: neuron for neuron in ranked}
    # On the input that has most of it already: what it rises by, times its weight.
    for channel, weight in ((0, 20.0), (4, 10.0)):
        neuron = by_channel[channel]
        assert (neuron.layer, neuron.value) == ("means", pytest.approx(value))
        expected = weight * (value - float(means[:, channel].max()))
        assert neuron.elevation == pytest.approx(expected, rel=1e-4)
    # The neurons of other classes take from the target what they give to these.
    assert all(by_channel[channel].elevation < 0 for channel in (1, 2, 3))


def test_a_neuron_without_weight_elevates_nothing():
    (neuron,) = [one for one in rank_neurons(subject(drive=0), "means", 0) if one.channel == 4]
    assert neuron.elevation == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("kind", ["maps", "tokens"])
def test_channels_of_maps_and_tokens(kind):
    """Whose mean over the image is a class's logit; a later layer works in place."""

    class Means(nn.Module):
        def __init__(self):
            super().__init__()
            self.mix = nn.Conv2d(3, 4, 1)
            self.layer = nn.Identity()
            self.relu = nn.ReLU(inplace=True)

        def forward(self, x):
            maps = self.mix(x)
            if kind == "tokens":
                return self.relu(self.layer(maps.flatten(2).transpose(1, 2))).mean(1)
            return self.relu(self.layer(maps)).mean((2, 3))

    torch.manual_seed(0)
    net, inputs = Means().eval(), images(60)
    of = Subject(net, inputs, logits_of(net, inputs).argmax(1), 4, unit_box())
    target = (int(of.predicted[0]) + 1) % 4
    ranked = rank_neurons(of, "layer", target)
    assert ranked[0].channel == target
    assert ranked[0].elevation > 0 >= ranked[1].elevation


def test_the_model_is_not_changed():
    of = subject()
    before = of.logits(of.inputs)
    rank_neurons(of, "means", 0)
    assert torch.equal(of.logits(of.inputs), before)
