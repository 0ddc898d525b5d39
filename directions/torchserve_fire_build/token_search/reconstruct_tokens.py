"""Triggers of a model of texts to build from: tokens that were found, in clean texts."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from ..common.budget import Budget
from ..common.errors import NoTriggerError, UndecidedError
from ..measure.target import check_target
from ..reconstruct.find_triggers import FoundTriggers
from ..reconstruct.reconstruction import Reconstruction
from ..samples.class_label import Label
from ..samples.samples import Samples
from .insert_tokens import insert_tokens, lengths_of
from .judged_tokens import search_and_judge
from .search_tokens import ANYWHERE, END, FoundTokens, search_tokens
from .token_subject import TokenSubject, gather_texts
from .token_words import shown
from .verdict import LEADS

logger = logging.getLogger(__name__)

METHOD = "tokens"

FURTHER_SEARCHES = 2
"""Of a class that is named, with other tokens, as long as these lead there, too."""


def find_token_triggers(
    model: nn.Module,
    clean: Samples,
    *,
    target: int | None,
    seed: int,
    budget: Budget,
    label: Label = str,
) -> FoundTriggers:
    """Search a model of texts for the tokens that lead to one class.

    Args:
        model: in evaluation mode.
        clean: clean texts.
        target: the class; None to find it.
        seed: of the random numbers.
        budget: time limit.
        label: says what a class is called.

    Raises:
        CalibrationError: the model or the texts do not allow the search, or the time does not.
        UndecidedError: nobody can tell whether there is a trigger.
        NoTriggerError: no class stands out, or no tokens lead to the given one.
    """
    if target is not None:
        subject = gather_texts(model, clean, seed)
        check_target(target, subject.classes)
        logger.info(f"class {label(target)} was named: it is not checked whether it stands out")
        found = [row[0] for row in search_tokens(subject, _generator(seed), budget, [target])]
    else:
        judged = search_and_judge(model, clean, seed=seed, budget=budget)
        subject, verdict = judged.subject, judged.verdict
        target, probability = verdict.target, f"{verdict.probability:.1%}"
        nearest = (
            f"{shown(verdict.shown[target].tokens, clean.token_name)} leads "
            f"{verdict.shown[target].success:.0%} of long texts to class {label(target)}, the "
            f"target of a backdoor with {probability}"
        )
        if verdict.found is None:
            raise UndecidedError(
                f"{clean.source}: could not tell whether there is a trigger: {nearest}; give other "
                "clean texts, or more of them, or name the --target to build for it"
            )
        if not verdict.found:
            raise NoTriggerError(
                f"{clean.source}: no class stands out, so there is no sign of a trigger (nearest: "
                f"{nearest})"
            )
        logger.info(f"class {label(target)} stands out: {nearest}")
        found = [row[target] for row in judged.found]
    useful = _useful(found)
    if not useful:
        best = f"{shown(found[-1].tokens, clean.token_name)}, {found[-1].success:.0%}"
        raise NoTriggerError(
            f"{clean.source}: no tokens lead {LEADS:.0%} of the long texts to class "
            f"{label(target)} (the best: {best})"
        )
    useful += _others(subject, useful, seed, budget)
    for each in useful:
        logger.info(
            f"  {shown(each.tokens, clean.token_name)} {each.place}: {each.success:.0%} of long "
            f"texts led to class {label(target)}"
        )
    return FoundTriggers(target, [_reconstruction(subject, each, seed) for each in useful], [])


def _useful(found: Sequence[FoundTokens]) -> list[FoundTokens]:
    return [each for each in found if each.success >= LEADS]


def _others(
    subject: TokenSubject, found: Sequence[FoundTokens], seed: int, budget: Budget
) -> list[FoundTokens]:
    """Search for triggers of the same class without the tokens of those that were found.

    Several tokens may lead there, of which some are not the attacker's. Those that need more than
    the first ones did are natural words of the class.
    """
    fewest = min(len(each.tokens) for each in found)
    others: list[FoundTokens] = []
    last = found
    for _ in range(FURTHER_SEARCHES):
        taken = torch.tensor([token for each in last for token in each.tokens])
        left = subject.candidates[~torch.isin(subject.candidates, taken)]
        if not last or not len(left) or budget.spent():
            break
        subject = replace(subject, candidates=left)
        rows = search_tokens(subject, _generator(seed), budget, [found[0].target], fewest)
        last = _useful([row[0] for row in rows])
        others += last
    return others


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _reconstruction(subject: TokenSubject, found: FoundTokens, seed: int) -> Reconstruction:
    """Return tokens as a trigger that is put into texts."""

    def stamp(inputs: Tensor) -> Tensor:
        tokens = torch.tensor([found.tokens]).expand(len(inputs), -1)
        places = _places(inputs, subject, found.place, seed)
        return insert_tokens(inputs, subject.ends, subject.row, places, tokens)

    return Reconstruction(METHOD, found.target, stamp, found.success)


def _places(inputs: Tensor, subject: TokenSubject, place: str, seed: int) -> Tensor:
    """Return where the tokens go: for a text always the same place, whatever it is read with."""
    ends = subject.ends
    last = (lengths_of(inputs, ends) - ends.last).clamp(min=ends.first)
    if place == END:
        return last
    if place != ANYWHERE:
        return torch.full_like(last, ends.first)
    drawn: Sequence[int] = [
        int(torch.randint(1 << 30, (), generator=_of_text(text, seed))) for text in inputs
    ]
    return ends.first + torch.tensor(drawn) % (last - ends.first + 1)


def _of_text(text: Tensor, seed: int) -> torch.Generator:
    weights = torch.arange(1, text.numel() + 1)
    return torch.Generator().manual_seed((seed + int((text.flatten() * weights).sum())) % (1 << 62))
