"""The rows of the table: means over draws, with intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter
from statistics import mean, stdev
from typing import Any

from ..measure.figures import Figures, Interval, interval
from .compare import Options, Outcomes
from .outcome import Measured, Outcome
from .parts import draw, draw_size
from .subject import Subject


@dataclass(frozen=True)
class Estimate:
    """A share: its mean over draws, with its 95 % interval; all in [0, 1]."""

    mean: float
    within: Interval

    def to_json(self) -> dict[str, Any]:
        """Return it as the JSON file has it."""
        return {"mean": self.mean, "interval": list(self.within)}


def estimate(shares: Sequence[float], count: int) -> Estimate:
    """Return the mean share of draws that were measured on the same samples, with its interval.

    Two things vary, independently: which samples are measured on, the same for all draws, and
    which samples a draw takes. Wilson's interval is for the first, so more draws do not narrow it,
    and Student's for the second. Their distances from the mean are added as squares (Zou and
    Donner, Statistics in Medicine 2008). With one draw, nothing is known of the second.

    Args:
        shares: one of each draw, in [0, 1].
        count: samples that each is a share of.
    """
    middle = mean(shares)
    low, high = interval(middle, count)
    draws = len(shares)
    spread = 0.0
    if draws > 1:
        from scipy.stats import t

        spread = float(t.ppf(0.975, draws - 1)) * stdev(shares) / math.sqrt(draws)
    return Estimate(
        middle,
        (
            max(0.0, middle - math.hypot(middle - low, spread)),
            min(1.0, middle + math.hypot(high - middle, spread)),
        ),
    )


@dataclass(frozen=True)
class Row:
    """A defence.

    Attributes:
        name: of the defence.
        outcomes: of each draw.
        counts: clean test samples, and triggered ones that count.
    """

    name: str
    outcomes: Sequence[Outcome]
    counts: tuple[int, int]

    @cached_property
    def measured(self) -> list[Measured]:
        """The draws from which it could be built."""
        return [each.measured for each in self.outcomes if each.measured is not None]

    @property
    def remark(self) -> str:
        """Why figures are missing; empty if none are."""
        for each in self.outcomes:
            if each.not_applicable is not None:
                return f"not applicable: {each.not_applicable}"
        failed = [each.failed for each in self.outcomes if each.failed is not None]
        if not failed:
            return ""
        draws = len(self.outcomes)
        which = f" in {len(failed)} of {draws} draws" if len(failed) < draws else ""
        return f"failed{which}: {failed[0]}"

    @property
    def clean_accuracy(self) -> Estimate:
        """BA."""
        return self._estimate("clean_accuracy", self.counts[0])

    @property
    def attack_success_rate(self) -> Estimate:
        """ASR."""
        return self._estimate("attack_success_rate", self.counts[1])

    @property
    def recovered_accuracy(self) -> Estimate:
        """RA."""
        return self._estimate("recovered_accuracy", self.counts[1])

    def average(self, name: str) -> float | None:
        """Return the mean of an attribute of `Measured`; None if it is unknown of a draw."""
        values = [getattr(each, name) for each in self.measured]
        return None if not values or None in values else mean(values)

    def _estimate(self, name: str, count: int) -> Estimate:
        return estimate(list(map(attrgetter(name), self.measured)), count)


@dataclass(frozen=True)
class Summary:
    """The whole comparison.

    Attributes:
        subject: the model and the samples.
        drawn: clean and triggered samples of each draw.
        seed: of the first draw.
        outcomes: of each defence and draw.
    """

    subject: Subject
    drawn: tuple[int, int]
    seed: int
    outcomes: Outcomes

    @cached_property
    def before(self) -> Figures:
        """The unrepaired model's figures on the test samples."""
        test = self.subject.test
        return test.figures_after(test.predictions, None, self.subject.targets)

    @property
    def draws(self) -> int:
        """How many draws there were."""
        return len(next(iter(self.outcomes.values())))

    @property
    def rows(self) -> list[Row]:
        """The defences, in the order in which they were asked for."""
        return [Row(name, found, self.before.counts) for name, found in self.outcomes.items()]


def summarise(subject: Subject, options: Options, outcomes: Outcomes) -> Summary:
    """Return the comparison that was made.

    Args:
        subject: the model and the samples.
        options: what the user decided.
        outcomes: what `compare` returned for them.
    """
    count = draw_size(subject.calibration, options.calibration)
    drawn = draw(subject.calibration, count, options.seed)
    return Summary(subject, (len(drawn.clean), len(drawn.triggered)), options.seed, outcomes)
