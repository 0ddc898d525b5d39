"""The repair of this project, as a defence to be compared with the others."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from torchserve_fire.format.bundle import Bundle
from torchserve_fire.repair.attach_layers import attach_layers
from torchserve_fire.repair.example_input import example_for

from ..samples.predict import logits_of
from .rival import Answers, Defence


def defend(model: nn.Module, bundle: Bundle) -> Defence:
    """Return the defence that a bundle is.

    Args:
        model: gets the corrections, and keeps them; so it is a copy, or loaded for this.
        bundle: built for it.

    Raises:
        AttachError: the bundle does not fit the model.
    """
    example = example_for(model, bundle.input)
    handle = attach_layers(model, bundle.layers, example, target=bundle.target)

    def answer(inputs: Tensor) -> Answers:
        predictions = logits_of(model, inputs).argmax(1)
        flagged = handle.verdict.flagged.cpu()
        passes = torch.ones(len(inputs)) + (flagged.float() if handle.passes == 2 else 0)
        return Answers(predictions, flagged, passes)

    return answer
