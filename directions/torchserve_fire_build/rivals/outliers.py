"""Inputs that a judge of their features flags get the model's next likeliest class.

What a detector's input should be answered with, its paper does not say. The next likeliest class is
what this project's own repair falls back on, so that detectors are compared by what they detect.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..common.errors import SanitizeError
from ..common.hooks import record_inputs
from ..samples.predict import logits_of
from ..samples.samples import Samples
from ..sanitize.pruning import find_head, inputs_of
from .rival import Answers, Defence, RivalNotApplicable

CLEAN_FLAGGED = 0.01
"""Share of the clean samples, of those that a judge was made from, that is flagged."""

Judge = Callable[[Tensor, Tensor], Tensor]
"""Says of features (N, D) and predicted classes (N,) int64 which are outliers, (N,) bool."""


def features_of(model: nn.Module, samples: Samples) -> tuple[nn.Linear, Tensor]:
    """Return a model's last linear layer and its inputs for samples, (N, D) float32.

    Raises:
        RivalNotApplicable: the model does not end in a linear layer.
    """
    try:
        head = find_head(model, samples)
        return head, inputs_of(model, head, samples)
    except SanitizeError as error:
        raise RivalNotApplicable(str(error)) from None


def answer_next_where_flagged(model: nn.Module, head: nn.Linear, judge: Judge) -> Defence:
    """Return the defence of one forward pass, in which a judge sees the head's inputs."""

    def answer(inputs: Tensor) -> Answers:
        seen: list[Tensor] = []
        with record_inputs(head, lambda features: seen.append(features.float().cpu())):
            first, second = logits_of(model, inputs).topk(2).indices.unbind(1)
        flagged = judge(torch.cat(seen), first)
        return Answers(torch.where(flagged, second, first), flagged, torch.ones(len(inputs)))

    return answer
