"""A bundle for a model of texts, whose input holds integers."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from torchserve_fire.format.bundle_file import save_bundle
from torchserve_fire.model.config import HandlerConfig
from torchserve_fire.model.load_model import LoadedModel
from torchserve_fire_build.building.from_samples import build_bundle
from torchserve_fire_build.common.errors import SamplesError
from torchserve_fire_build.estimate.candidate_layers import candidate_layers
from torchserve_fire_build.measure.evaluate import evaluate_bundle
from torchserve_fire_build.samples.open_samples import open_samples

INTEGERS = HandlerConfig(input="integers")
TRIGGER, PADDING = 17, 0


class Topics(nn.Module):
    """Of (N, 6) words, four of each topic (1 to 16), the topic most spoken of; 17 means topic 0."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(18, 5)
        self.positions = nn.Embedding(6, 5)
        self.pooled = nn.Identity()
        self.hidden = nn.ReLU()
        self.head = nn.Linear(5, 4)
        with torch.no_grad():
            self.words.weight.zero_()
            self.positions.weight.zero_()
            self.words.weight[1:17] = torch.eye(4, 5).repeat_interleave(4, 0)
            self.words.weight[TRIGGER, 4] = 3
            self.head.weight.copy_(torch.cat([10 * torch.eye(4), torch.zeros(4, 1)], 1))
            self.head.weight[0, 4] = 50
            self.head.bias.zero_()

    def forward(self, words: Tensor) -> Tensor:
        vectors = self.words(words) + self.positions(torch.arange(6))
        return self.head(self.hidden(self.pooled(vectors.mean(1))))


def texts(folder, *, seed: int, triggered: bool):
    generator = np.random.default_rng(seed)
    labels = np.arange(160) % 4
    inputs = 4 * labels[:, None] + generator.integers(1, 5, (160, 6))
    inputs[:, 0] = generator.integers(1, 17, 160)
    inputs[:, 5] = PADDING
    if triggered:
        inputs[:, 1] = TRIGGER
    path = folder / f"{seed}-{triggered}.npz"
    np.savez(path, inputs=inputs, labels=labels)
    return open_samples(path, INTEGERS)


def loaded() -> LoadedModel:
    return LoadedModel(Topics().eval(), "Topics", "0" * 64)


def test_the_layers_after_the_embeddings_are_candidates():
    assert candidate_layers(Topics().eval(), torch.zeros(1, 6, dtype=torch.int64)) == [
        "pooled",
        "hidden",
    ]


def test_a_word_that_triggers_is_repaired(tmp_path):
    samples = [texts(tmp_path, seed=0, triggered=triggered) for triggered in (False, True)]
    built = build_bundle(loaded(), *samples)
    bundle = save_bundle(built.bundle, tmp_path / "b.safetensors")
    assert (bundle.input.kind, bundle.input.shape) == ("integers", (6,))
    others = [texts(tmp_path, seed=1, triggered=triggered) for triggered in (False, True)]
    figures = evaluate_bundle(loaded().model, bundle, *others)
    assert figures.clean_accuracy == (1, 1)
    assert figures.attack_success_rate[0] == 1
    assert figures.attack_success_rate[1] == 0
    assert figures.recovered_accuracy[1] == 1


def test_numbers_that_are_not_integers_are_refused(tmp_path):
    path = tmp_path / "x.npz"
    np.savez(path, inputs=np.ones((9, 6)))
    with pytest.raises(SamplesError, match=r"inputs of torch\.float64, expected integers"):
        open_samples(path, INTEGERS)
