"""The tokens that lead most texts to each class, found along gradients and then tried.

One token is searched for first, then a second and a third beside it. As in HotFlip (arXiv
1712.06751) and PICCOLO (Liu et al. 2022), the gradient in the embedding of a token says how much
each token of the vocabulary would change the prediction in its place, to first order. The most
promising ones are tried on texts: many on few, the best on more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..common.budget import Budget
from ..common.errors import CalibrationError
from ..common.progress import Progress
from ..samples.predict import differentiable_logits, gradients_of
from .insert_tokens import lengths_of
from .token_subject import TokenSubject, log_odds_of

START, ANYWHERE, END = "at the start", "anywhere", "at the end"
PLACES = (START, ANYWHERE, END)
"""Where tokens are put: attackers choose one place, or a random one."""

MOST = 5
"""The most tokens of a trigger. With many, texts of benign models can be led to any class."""

SEARCHED = 12
"""Texts on which tokens are searched for, of each class."""

MEASURED = 60
"""Texts on which those that were found are measured: others than these."""

STEEPEST = 24
"""Tokens that are tried for each place, of those with the steepest gradients; half as many beside
others."""

HALVINGS = ((3, 12), (6, 5), (SEARCHED, 2))
"""On how many texts all are tried, and how many are then left: the beam that is extended."""


@dataclass(frozen=True)
class FoundTokens:
    """Tokens that lead to a class.

    Attributes:
        target: the class.
        tokens: their ids.
        place: one of `PLACES`: where they lead most texts.
        success: share of the measured texts of other classes that they lead there.
        log_odds: of the class, the mean over these texts, in units of `TokenSubject.sureness`.
    """

    target: int
    tokens: tuple[int, ...]
    place: str
    success: float
    log_odds: float


def search_tokens(
    subject: TokenSubject,
    generator: torch.Generator,
    budget: Budget,
    classes: Sequence[int],
    most: int = MOST,
) -> list[list[FoundTokens]]:
    """Search for the tokens of some classes.

    Args:
        subject: the model, and clean texts.
        generator: source of the random numbers.
        budget: when it is spent, no longer triggers are searched for.
        classes: to search for.
        most: the most tokens of a trigger.

    Returns:
        For each number of tokens, from one to `most` as far as the time allows: the best ones of
        each class, in the order of the classes.

    Raises:
        CalibrationError: the time was over before single tokens of all classes were found; or the
            gradients of the model lead nowhere.
    """
    texts = _longest(subject, generator)
    searches = {target: _Search(subject, target, texts, generator) for target in classes}
    found: list[list[FoundTokens]] = []
    with Progress("searching for tokens", most * len(classes)) as progress:
        for length in range(1, min(most, len(subject.candidates)) + 1):
            for search in searches.values():
                if budget.spent():
                    if length == 1:
                        raise CalibrationError(
                            "the time was over before tokens of all classes were searched for"
                        )
                    return found
                search.extend()
                progress.advance()
            found.append([search.measured() for search in searches.values()])
    return found


def _longest(subject: TokenSubject, generator: torch.Generator) -> Tensor:
    """Return the longer half of the texts of each class, in random order, classes in turn.

    A token counts for less in a long text, unless it is a trigger's.
    """
    lengths = lengths_of(subject.inputs, subject.ends).double()
    # In random order where lengths are equal.
    lengths += torch.rand(len(lengths), generator=generator, dtype=torch.float64)
    ranked = []
    for predicted in sorted(set(subject.predicted.tolist())):
        own = (subject.predicted == predicted).nonzero().flatten()
        longer = own[lengths[own].argsort(descending=True)][: (len(own) + 1) // 2]
        longer = longer[torch.randperm(len(longer), generator=generator)]
        ranked += [(rank / len(longer), i) for rank, i in enumerate(longer.tolist())]
    return torch.tensor([i for _, i in sorted(ranked)])


class _Search:
    """The search for the tokens of one class.

    Args:
        subject: the model, and clean texts.
        target: the class.
        texts: numbers of texts.
        generator: source of the random numbers.
    """

    def __init__(
        self, subject: TokenSubject, target: int, texts: Tensor, generator: torch.Generator
    ) -> None:
        self._subject, self._target, self._generator = subject, target, generator
        others = texts[subject.predicted[texts] != target]
        searched = min(SEARCHED, max(1, len(others) // 2))
        self._texts, self._measured = others[:searched], others[searched:][:MEASURED]
        self._beam: list[tuple[int, ...]] = [()]
        self._singles: list[int] = []

    def extend(self) -> None:
        """Put one more token to those of the beam, before them or behind."""
        tried: set[tuple[int, ...]] = set()
        for tokens in self._beam:
            for at in {0, len(tokens)}:
                # The same token again leads further along its own way, and on no other.
                steepest = [*self._steepest(tokens, at), *self._singles]
                new = [token for token in steepest if token not in tokens]
                tried |= {(*tokens[:at], token, *tokens[at:]) for token in new}
        self._beam = self._best(sorted(tried))
        if not self._singles:
            self._singles = [tokens[0] for tokens in self._beam]

    def measured(self) -> FoundTokens:
        """Return the best tokens so far of their number, as they do on other texts."""
        return self._measure(self._beam[0])

    def _best(self, tried: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
        """Return the best of some tokens, by halving; the places of the texts take turns."""
        best = torch.tensor(tried)
        for texts, left in HALVINGS:
            scores = torch.stack(
                [
                    self._log_odds(best, self._texts[:texts][i :: len(PLACES)], place).mean(1)
                    for i, place in enumerate(PLACES)
                ]
            )
            best = best[scores.amax(0).argsort(descending=True, stable=True)[:left]]
        return [tuple(tokens) for tokens in best.tolist()]

    def _log_odds(self, tokens: Tensor, texts: Tensor, place: str) -> Tensor:
        """Return the log-odds of the class with each of some tokens, (tokens, texts) float32."""
        places = self._places(texts, place)
        inputs = self._subject.insert(
            texts.repeat(len(tokens)),
            places.repeat(len(tokens)),
            tokens.repeat_interleave(len(texts), 0),
        )
        return self._odds(self._subject.logits(inputs)).view(len(tokens), len(texts))

    def _odds(self, logits: Tensor) -> Tensor:
        """Return the class's log-odds in units of how sure the model is of clean texts."""
        target = torch.full((len(logits),), self._target, device=logits.device)
        return log_odds_of(logits, target) / self._subject.sureness

    def _places(self, texts: Tensor, place: str) -> Tensor:
        ends = self._subject.ends
        last = lengths_of(self._subject.inputs[texts], ends) - ends.last
        if place == START:
            return torch.full_like(last, ends.first)
        if place == END:
            return last
        share = torch.rand(len(texts), generator=torch.Generator().manual_seed(len(texts)))
        return ends.first + (share * (last - ends.first + 1)).long()

    def _steepest(self, tokens: tuple[int, ...], at: int) -> list[int]:
        """Return the tokens that most help the class beside others, to first order."""
        subject, texts = self._subject, self._texts
        candidates = subject.candidates
        steepest: list[int] = []
        for place in PLACES:
            filler = torch.randint(len(candidates), (len(texts), 1), generator=self._generator)
            beside = torch.tensor(tokens, dtype=torch.int64).expand(len(texts), -1)
            inserted = torch.cat([beside[:, :at], candidates[filler], beside[:, at:]], 1)
            places = self._places(texts, place)
            slopes = self._slopes(subject.insert(texts, places, inserted), places + at)
            wanted = min(STEEPEST // 2 if tokens else STEEPEST, len(candidates))
            steepest += candidates[slopes[candidates].topk(wanted)[1]].tolist()
        return list(dict.fromkeys(steepest))

    def _slopes(self, inputs: Tensor, places: Tensor) -> Tensor:
        """Return how the log-odds rise with each token at a place, to first order, (V,) float32."""
        subject, leaves = self._subject, []

        def leaf(module: torch.nn.Module, args: object, output: Tensor) -> Tensor:
            if len(output) != len(inputs):
                # A repair that is attached runs the flagged texts once more.
                return output
            leaves.append(output.detach().requires_grad_())
            return leaves[-1]

        # A text that was cut off holds its tokens before its end.
        new = lengths_of(inputs, subject.ends)
        places = torch.minimum(places, new - 1)
        hook = subject.embedding.register_forward_hook(leaf)
        try:
            with torch.enable_grad():
                odds = self._odds(differentiable_logits(subject.model, inputs)).mean()
                gradients = gradients_of(odds, leaves, unused_are_0=True)
        finally:
            hook.remove()
        rows = torch.arange(len(inputs))
        at = torch.stack([gradient[rows, places] for gradient in gradients]).sum(0)
        if not bool(at.any()):
            raise CalibrationError(
                f"{type(subject.model).__name__}: the gradients of its logits are 0 for all "
                "tokens, expected a model that is differentiable in its embedding"
            )
        return (subject.embedding.weight.detach() @ at.mean(0)).cpu()

    def _measure(self, tokens: tuple[int, ...]) -> FoundTokens:
        one = torch.tensor([tokens])
        odds = {place: self._log_odds(one, self._measured, place)[0] for place in PLACES}
        place = max(PLACES, key=lambda place: float(odds[place].mean()))
        return FoundTokens(
            self._target,
            tokens,
            place,
            float((odds[place] > 0).double().mean()),
            float(odds[place].double().mean()),
        )
