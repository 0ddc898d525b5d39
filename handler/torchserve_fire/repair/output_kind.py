"""Whether a model answers with probabilities in the place of logits."""

from __future__ import annotations

from typing import Any

import torch

from ..format.bundle import InputDescription
from .example_input import example_for
from .logits import are_probabilities, find_logits

TRIED = 8
"""One row of two logits may have a sum of 1 by chance; as many do not."""


def gives_probabilities(
    model: Any, description: InputDescription, integers_below: int | None = None
) -> bool:
    """Whether a model gives probabilities for every one of a few random inputs.

    It is asked once for all inputs, since one row does not show it.

    Args:
        model: on its device.
        description: what it takes.
        integers_below: of integers, one above the largest.

    Returns:
        False also where the model gives nothing for such inputs, as one that takes several.

    Raises:
        ModelError: the model gives something in which no logits are found.
    """
    example = example_for(model, description)
    shape = (TRIED, *example.shape[1:])
    generator = torch.Generator().manual_seed(0)
    if example.is_floating_point():
        inputs = torch.randn(shape, generator=generator)
    else:
        inputs = torch.randint(0, integers_below or 1, shape, generator=generator)
    try:
        with torch.inference_mode():
            output = model(inputs.to(example))
    except Exception:  # What it raises for its own inputs, a request will tell.
        return False
    return are_probabilities(find_logits(output, TRIED))
