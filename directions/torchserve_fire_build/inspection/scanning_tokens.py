"""Inspection of a model of texts: a few tokens that lead every text to one class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from ..common.budget import Budget
from ..samples.class_label import Label
from ..samples.samples import Samples, TokenName
from ..token_search.judged_tokens import JudgedTokens, search_and_judge
from ..token_search.search_tokens import MOST, FoundTokens
from ..token_search.token_words import shown, words_of
from ..token_search.verdict import FOUND
from .inspection import Inspection

CLASSES_SHOWN = 10
"""The most classes whose tokens are told, the likeliest ones."""


def scan_tokens(
    method: str,
    model: nn.Module,
    clean: Samples,
    generator: torch.Generator,
    budget: Budget,
    label: Label = str,
) -> Inspection:
    """Search for the tokens of all classes; see `inspection.inspection.Inspect`.

    Notes call the classes as `label` does.

    Raises:
        CalibrationError: the model or the texts do not allow the search, or the time does not.
    """
    judged = search_and_judge(model, clean, seed=generator.initial_seed(), budget=budget)
    verdict, backdoored = judged.verdict, judged.verdict.found
    notes = [
        f"{len(judged.subject.inputs)} clean texts",
        *_of_tokens(judged, clean.token_name, label),
    ]
    if backdoored is False and len(judged.found) < MOST:
        # What was not searched for has found nothing, whatever there is.
        backdoored = None
        notes.append(
            f"the time was over after triggers of {len(judged.found)} of {MOST} tokens: raise the "
            "--budget"
        )
    elif backdoored is None:
        notes.append(
            "more clean texts, or another --seed, could tell; a build from triggered texts needs "
            "no verdict"
        )
    return Inspection(
        method,
        threshold=FOUND,
        probabilities=verdict.probabilities,
        probability=verdict.probability,
        backdoored=backdoored,
        triggers=[_as_values(each, clean.token_name) for each in verdict.shown],
        notes=tuple(notes),
    )


def _of_tokens(judged: JudgedTokens, name: TokenName | None, label: Label) -> list[str]:
    """Return a line for each of the likeliest classes."""
    verdict = judged.verdict
    order = verdict.probabilities.argsort(descending=True, stable=True)[:CLASSES_SHOWN]
    return [
        f"class {label(found.target)}: {shown(found.tokens, name)} {found.place} leads "
        f"{found.success:.0%} of long texts of other classes there (log-odds {found.log_odds:.2f})"
        for found in (verdict.shown[target] for target in order.tolist())
    ]


def _as_values(found: FoundTokens, name: TokenName | None) -> Mapping[str, Any]:
    words: Sequence[str] | None = words_of(found.tokens, name)
    return {
        "class": found.target,
        "tokens": list(found.tokens),
        "words": words,
        "place": found.place,
        "success": found.success,
        "log_odds": found.log_odds,
    }
