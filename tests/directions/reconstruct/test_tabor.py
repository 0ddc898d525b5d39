"""Each regulariser, alone beside the mask's size or with nothing, against the search without it."""

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from tests.directions.reconstruct.patch_net import subject
from torchserve_fire_build.reconstruct.neural_cleanse import NeuralCleanse
from torchserve_fire_build.reconstruct.patch import Patch
from torchserve_fire_build.reconstruct.tabor import Tabor, Weights, elastic_net, roughness

NONE = Weights(0, 0, 0, 0, 0, 0)


def outside(patch):
    return (1 - patch.mask) * patch.pattern


def blocking(of, patch):
    inputs, truth = of.others(0), of.predicted[of.predicted != 0]
    return F.cross_entropy(of.logits(inputs * (1 - patch.mask)), truth)


def overlaying(of, patch):
    return F.cross_entropy(of.logits((patch.mask * patch.pattern)[None]), torch.tensor([0]))


MEASURES = {
    "mask_size": lambda of, patch: elastic_net(patch.mask),
    "pattern_size": lambda of, patch: elastic_net(outside(patch)),
    "mask_roughness": lambda of, patch: roughness(patch.mask),
    "pattern_roughness": lambda of, patch: roughness(outside(patch)),
    "blocking": blocking,
    "overlaying": overlaying,
}


def search(weights):
    of = subject()
    tabor = Tabor(of, 0, torch.Generator().manual_seed(0), weights)
    tabor.advance(60)
    return of, tabor.patch


def weights_of(**given):
    return Weights(**{**vars(NONE), **given})


@pytest.mark.parametrize(
    ("name", "weight", "mask_size"),
    [
        ("mask_size", 1, 0),
        ("pattern_size", 0.1, 1),
        ("mask_roughness", 10, 1),
        ("pattern_roughness", 1, 1),
        # Small masks block nothing.
        ("blocking", 10, 0),
        ("overlaying", 1, 1),
    ],
)
def test_a_regulariser_lowers_what_it_is_meant_to_lower(name, weight, mask_size):
    without = search(weights_of(mask_size=mask_size))
    regularised = search(weights_of(**{"mask_size": mask_size, name: weight}))
    assert MEASURES[name](*regularised) < 0.7 * MEASURES[name](*without)


def test_values_are_counted_by_hand():
    values = torch.tensor([[[1.0, 0, 3]], [[0, 2, 0]]])
    assert float(elastic_net(values)) == (1 + 3 + 2 + 1 + 9 + 4) / 2
    assert float(roughness(values)) == (1 + 9 + 4 + 4) / 2
    assert float(roughness(values.transpose(1, 2))) == (1 + 9 + 4 + 4) / 2


def test_the_pattern_alone_leads_to_the_target():
    of, patch = search(Weights(overlaying=1.0))
    assert int(of.logits((patch.mask * patch.pattern)[None]).argmax()) == 0


def test_without_regularisers_it_is_neural_cleanse_without_a_penalty():
    class Free(NeuralCleanse):
        def _penalty(self, patch: Patch, weight, inputs, predicted):
            return 0.0

    of, patch = search(NONE)
    free = Free(of, 0, torch.Generator().manual_seed(0))
    free.advance(60)
    assert torch.equal(free.patch.mask, patch.mask)
    assert torch.equal(free.patch.pattern, patch.pattern)
