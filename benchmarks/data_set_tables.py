"""The repair over several victims: by data set, and by what is wrong with the evidence."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from statistics import mean

from .markdown_table import markdown_table
from .victim_tables import BARS, Results, Score, mean_and_worst, mean_scores, score

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


def as_it_comes_table(rows: Sequence[Results]) -> str:
    """Return our mean figures for each flaw of the evidence, over victims and draws.

    A build that refused leaves the victim as it was, and is counted.
    """
    headings = [
        "what is wrong with the evidence",
        "builds (refused)",
        "RA / ceiling: mean (worst)",
        "BA change: mean (worst)",
        "ASR above natural: mean (worst)",
    ]
    lines = []
    for flaw in dict.fromkeys(row["flaw"] for row in rows):
        of_flaw = [row for row in rows if row["flaw"] == flaw]
        scores = [score(row["baseline"], row.get("figures", row["baseline"])) for row in of_flaw]
        refused = sum("refused" in row for row in of_flaw)
        lines.append([flaw, f"{len(of_flaw)} ({refused})", *mean_and_worst(scores)])
    return markdown_table(headings, lines)


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the bootstrap interval of a mean, at `LEVEL`; the same for the same values."""
    draws = random.Random(0)  # noqa: S311 - no secret.
    means = sorted(mean(draws.choices(values, k=len(values))) for _ in range(RESAMPLES))
    outside = round((1 - LEVEL) / 2 * RESAMPLES)
    return means[outside], means[-1 - outside]
