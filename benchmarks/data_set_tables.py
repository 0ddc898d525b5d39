"""The repair on several data sets: means over their victims, with intervals."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from statistics import mean

from .markdown_table import markdown_table
from .victim_tables import BARS, Results, Score, mean_scores

RESAMPLES = 2000
LEVEL = 0.95


def data_set_table(results: Mapping[str, Sequence[Results]]) -> str:
    """Return our mean figures by data set and evidence; results are by the data set's title.

    Of a ratio above 1, only 1 counts. The intervals are bootstrap ones over the victims.
    """
    headings = [
        "data set",
        "evidence",
        "victims",
        "RA / ceiling",
        "BA change",
        "ASR above natural",
        "within the bar",
    ]
    lines = []
    for title, of_set in results.items():
        for evidence, bar in BARS.items():
            scores = mean_scores(of_set, evidence)
            if scores:
                met = sum(not score.misses(bar) for score in scores)
                cells = [title, evidence, str(len(scores)), *_means(scores)]
                lines.append([*cells, f"{met} of {len(scores)}"])
    return markdown_table(headings, lines)


def _means(scores: Sequence[Score]) -> list[str]:
    ratios = [min(score.ratio, 1.0) for score in scores]
    changes = [score.clean_change for score in scores]
    excess = [score.attack_excess for score in scores]
    return [_mean(ratios, "{:.3f}"), _mean(changes, "{:+.2f}"), _mean(excess, "{:+.1f}")]


def _mean(values: Sequence[float], form: str) -> str:
    low, high = interval(values)
    return f"{form.format(mean(values))} ({form.format(low)} to {form.format(high)})"


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the bootstrap interval of a mean, at `LEVEL`; the same for the same values."""
    draws = random.Random(0)  # noqa: S311 - no secret.
    means = sorted(mean(draws.choices(values, k=len(values))) for _ in range(RESAMPLES))
    outside = round((1 - LEVEL) / 2 * RESAMPLES)
    return means[outside], means[-1 - outside]
