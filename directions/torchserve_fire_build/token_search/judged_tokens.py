"""From a model of texts and clean texts to a verdict, and to triggers of the class it names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from ..common.budget import Budget
from ..common.errors import CalibrationError
from ..measure.anomaly_index import MIN_CLASSES
from ..samples.samples import Samples
from ..scan.other_classes import require_others
from .search_tokens import FoundTokens, search_tokens
from .token_subject import TokenSubject, gather_texts
from .verdict import TokenVerdict, judge

MIN_OTHERS = 24
"""The least texts outside of each class: half to search with, half to measure with."""


@dataclass(frozen=True)
class JudgedTokens:
    """What a search for tokens found, and what follows from it.

    Attributes:
        subject: the model, and the clean texts that it was searched with.
        found: for each number of tokens, the best ones of each class.
        verdict: how likely a backdoor is.
    """

    subject: TokenSubject
    found: Sequence[Sequence[FoundTokens]]
    verdict: TokenVerdict


def search_and_judge(
    model: nn.Module, clean: Samples, *, seed: int, budget: Budget
) -> JudgedTokens:
    """Search a model of texts for the tokens of all classes, and compare these.

    Args:
        model: in evaluation mode.
        clean: clean texts.
        seed: of the random numbers.
        budget: time limit.

    Raises:
        CalibrationError: the model or the texts do not allow the search, or the time does not.
    """
    subject = gather_texts(model, clean, seed)
    if subject.classes < MIN_CLASSES:
        raise CalibrationError(
            f"{type(model).__name__}: {subject.classes} classes, expected at least {MIN_CLASSES} "
            "to see whether one stands out: build from triggered texts, or name the --target"
        )
    require_others(subject.predicted, 2 * MIN_OTHERS, clean.source, "texts")
    generator = torch.Generator().manual_seed(seed)
    found = search_tokens(subject, generator, budget, range(subject.classes))
    return JudgedTokens(subject, found, judge(found))
