"""Which candidates are stopped before they have run on all samples, since they cannot win."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor

from ..samples.both import Both
from .choice import Choice
from .judge import Judge, most_mean
from .ranking import Ranking

ROUNDING = 1e-6
"""The most that a worth may differ if it is computed in two ways."""


@dataclass(frozen=True)
class Race:
    """Stops candidates that will be worth less than the choice at a place of the ranking.

    Attributes:
        judge: judges the candidates.
        ranking: of the choices so far.
        places: how many of the best choices matter.
    """

    judge: Judge
    ranking: Ranking
    places: int

    def go_on(self, logits: Mapping[int, Both[Tensor]], done: Both[Tensor]) -> Iterable[int]:
        """Return which candidates of a layer go on, as `choose.trials.GoOn`."""
        last = self.ranking.at(self.places)
        return [k for k, of_one in logits.items() if self._may_reach(last, of_one, done)]

    def _may_reach(self, rival: Choice | None, logits: Both[Tensor], done: Both[Tensor]) -> bool:
        if rival is None:
            return True
        return self.judge.most_worth(logits, done, rival.repair) >= rival.worth - ROUNDING


@dataclass(frozen=True)
class FirstRace(Race):
    """Does so where it also matters which layers are the best.

    A candidate also goes on if it may be the best of its layer, and its layer among the best.

    Attributes:
        layers: how many of the best layers matter.
    """

    layers: int

    def go_on(self, logits: Mapping[int, Both[Tensor]], done: Both[Tensor]) -> Iterable[int]:
        """Return which candidates of a layer go on, as `choose.trials.GoOn`."""
        among_best = set(super().go_on(logits, done))
        last = self.ranking.at_layer(self.layers)
        gains = {k: self.judge.gain_of(of_one).triggered for k, of_one in logits.items()}
        which = self.judge.eligible.triggered
        seen = which & done.triggered
        leading = max(gains, key=lambda k: float(gains[k][seen].nan_to_num(-1.0).mean()))

        def may_lead_a_layer(k: int) -> bool:
            if not self._may_reach(last, logits[k], done):
                return False
            return most_mean((gains[k] - gains[leading])[seen], int(which.sum())) >= 0

        return [k for k in logits if k in among_best or may_lead_a_layer(k)]
