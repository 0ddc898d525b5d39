"""The repair of this project, as a defence to be compared with the others."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from torchserve_fire.format.bundle import Bundle
from torchserve_fire.repair.attach_layers import attach_layers
from torchserve_fire.repair.example_input import example_for

from ..samples.predict import logits_of
from .rival import Answers, Defence


def defend(model: nn.Module, bundle: Bundle) -> Defence:
    """Return the defence that a bundle is, of a copy of the model.

    Raises:
        AttachError: the bundle does not fit the model.
    """
    repaired = copy.deepcopy(model)
    example = example_for(repaired, bundle.input)
    handle = attach_layers(repaired, bundle.layers, example, target=bundle.target)

    def answer(inputs: Tensor) -> Answers:
        predictions = logits_of(repaired, inputs).argmax(1)
        flagged = handle.verdict.flagged.cpu()
        passes = torch.ones(len(inputs)) + (flagged.float() if handle.passes == 2 else 0)
        return Answers(predictions, flagged, passes)

    return answer
