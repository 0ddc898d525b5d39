"""Layers of a fixed shape, layers with tokens, and those in which padding counts."""

import logging

import pytest
import torch
from torch import nn

from torchserve_fire.model.request_body import RequestBody
from torchserve_fire.repair.own_tokens import own_tokens
from torchserve_fire_build.common.errors import CalibrationError
from torchserve_fire_build.estimate.layers_by_length import layers_of_fixed_shape, sort_by_length
from torchserve_fire_build.samples.tensor_samples import TensorSamples
from torchserve_fire_build.samples.token_samples import TokenSamples

PADDING = (0, 0)


class Layers(nn.Module):
    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(10, 4)
        for name in ("turned", "flat", "unmasked", "beside", "pooled"):
            setattr(self, name, nn.Identity())
        self.eval()

    def forward(self, packed):
        # As the hook of a handler's model has it: no further than the longest.
        own = own_tokens(packed, PADDING)
        words = self.words(packed[:, 0, : own.shape[1]])
        self.turned(words.transpose(1, 2))
        self.flat(words.flatten(1))
        self.unmasked(words.mean(1))
        self.beside(words + words.sum(1, keepdim=True))
        weight = own[:, :, None].float()
        return self.pooled((words * weight).sum(1) / weight.sum(1))


def samples(*lengths: int) -> TokenSamples:
    tokens = [torch.ones(2, length).long() * 3 for length in lengths]
    return TokenSamples(
        "here", list(map(str, lengths)), tokens, PADDING, lambda i: RequestBody(b"", ".txt")
    )


def test_each_layer_is_what_it_is(caplog):
    caplog.set_level(logging.INFO)
    model, names = Layers(), ["words", "turned", "flat", "unmasked", "beside", "pooled"]
    assert sort_by_length(model, names, samples(5, 2, 3)) == (["words", "pooled"], {"words"})
    assert caplog.messages[-1].endswith("padded: turned, flat, unmasked, beside")
    assert layers_of_fixed_shape(model, names, samples(5, 2, 3)) == ["pooled"]


def test_if_none_is_left_that_is_said():
    with pytest.raises(CalibrationError, match="depend on how much a text is padded"):
        sort_by_length(Layers(), ["unmasked", "flat"], samples(5, 2))
    with pytest.raises(CalibrationError, match="for each token"):
        layers_of_fixed_shape(Layers(), ["words"], samples(5, 2))


def test_others_than_texts_have_no_length():
    images = TensorSamples(torch.zeros(2, 3))
    assert layers_of_fixed_shape(Layers(), ["words"], images) == ["words"]
