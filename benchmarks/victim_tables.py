"""Tables of the victims' results: each victim by evidence, the bars, the rivals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any

from .markdown_table import markdown_table

OURS = "torchserve-fire"

Results = Mapping[str, Any]
"""What one file under `results/victims/DATA SET` holds."""


@dataclass(frozen=True)
class Bar:
    """What is asked for, for one kind of evidence.

    Attributes:
        ratio: recovered accuracy over its ceiling, at least.
        clean_change: change of clean accuracy in points, at least.
        attack_excess: attack success rate above the natural rate in points, at most.
    """

    ratio: float
    clean_change: float
    attack_excess: float


BARS: Mapping[str, Bar] = {
    "paired 200": Bar(0.99, -0.1, 0.5),
    "paired 20": Bar(0.97, -0.2, 1),
    "unpaired 100": Bar(0.97, -0.2, 1),
    "unpaired 20": Bar(0.93, -0.3, 2),
    "unpaired 100, 5 % mislabelled": Bar(0.95, -0.2, 1),
}


@dataclass(frozen=True)
class Score:
    """One defence of one victim, in the terms of the bars."""

    ratio: float
    clean_change: float
    attack_excess: float

    def misses(self, bar: Bar) -> list[str]:
        """Return what is short of the bar."""
        found = []
        if self.ratio < bar.ratio:
            found.append(f"RA {self.ratio:.3f}")
        if self.clean_change < bar.clean_change:
            found.append(f"BA {self.clean_change:+.2f}")
        if self.attack_excess > bar.attack_excess:
            found.append(f"ASR {self.attack_excess:+.2f}")
        return found


def ceiling(baseline: Mapping[str, float]) -> float:
    """Return the highest recovered accuracy that can be asked for.

    It is the victim's accuracy on the clean images, or, where the trigger destroys information, a
    benign model's accuracy on the triggered ones.
    """
    return min(baseline["clean_partners"], baseline["benign"])


def score(baseline: Mapping[str, float], figures: Mapping[str, float]) -> Score:
    """Return a defence's figures in the terms of the bars."""
    return Score(
        figures["recovered_accuracy"] / ceiling(baseline),
        100 * (figures["clean_accuracy"] - baseline["clean_accuracy"]),
        100 * (figures["attack_success_rate"] - baseline["natural_rate"]),
    )


def victim_table(results: Sequence[Results]) -> str:
    """Return what the victims are before any repair."""
    headings = [
        "victim",
        "BA",
        "ASR",
        "RA",
        "clean accuracy on the same images",
        "benign twin: on them / on the triggered ones",
        "ceiling",
    ]
    lines = []
    for result in results:
        b = result["baseline"]
        cells = [
            result["victim"],
            *(f"{100 * b[k]:.1f}" for k in ("clean_accuracy", "attack_success_rate")),
            f"{100 * b['recovered_accuracy']:.1f}",
            f"{100 * b['clean_partners']:.1f}",
            f"{100 * b['benign_clean']:.1f} / {100 * b['benign']:.1f}",
            f"{100 * ceiling(b):.1f}",
        ]
        lines.append(cells)
    return markdown_table(headings, lines)


def evidence_table(results: Sequence[Results]) -> str:
    """Return our figures by victim and evidence; what misses its bar is named in bold."""
    lines = [
        [result["victim"], *(_cell(result, evidence, bar) for evidence, bar in BARS.items())]
        for result in results
    ]
    met, measured = _count(results)
    table = markdown_table(["victim", *BARS], lines)
    return f"{table}\n{met} of {measured} combinations are within their bar.\n"


def rival_table(results: Sequence[Results], evidence: str) -> str:
    """Return the mean over the victims of each defence's figures, ours first.

    A defence that refused, as where it found nothing, leaves the victim as it was.
    """
    headings = [
        "defence",
        "victims (of these left as they were)",
        "RA / ceiling: mean (worst)",
        "BA change: mean (worst)",
        "ASR above natural: mean (worst)",
        "passes: clean / triggered",
        "built in",
    ]
    lines = []
    for name in _defences(results):
        runs = _judged(results, name, evidence)
        if not runs:
            continue
        scores = [found for found, _, _ in runs]
        built = [run for _, run, _ in runs if "figures" in run]
        victims = {victim for _, _, victim in runs}
        repaired = {victim for _, run, victim in runs if "figures" in run}
        passes = seconds = ""
        if built:
            passes = " / ".join(f"{mean(d['figures'][k] for d in built):.2f}" for k in _PASSES)
            seconds = f"{mean(d['build_seconds'] for d in built):.0f} s"
        cells = [
            name.replace("_", " "),
            f"{len(victims)} ({len(victims - repaired)})",
            *mean_and_worst(scores),
            passes,
            seconds,
        ]
        lines.append(cells)
    return markdown_table(headings, lines)


def scores_by_defence(results: Sequence[Results], evidence: str) -> dict[str, list[Score]]:
    """Return the scores of each defence, ours first, of every victim and draw that it applies to.

    A defence that refused leaves the victim as it was.
    """
    judged = {name: _judged(results, name, evidence) for name in _defences(results)}
    return {name: [found for found, _, _ in runs] for name, runs in judged.items() if runs}


def _judged(
    results: Sequence[Results], defence: str, evidence: str
) -> list[tuple[Score, Mapping[str, Any], str]]:
    """Return the score, the run and the victim of each run of a defence that applies."""
    return [
        (score(r["baseline"], run.get("figures", r["baseline"])), run, r["victim"])
        for r in results
        for run in r["runs"]
        if run["defence"] == defence and run["evidence"] == evidence and "not_applicable" not in run
    ]


def mean_and_worst(scores: Sequence[Score]) -> list[str]:
    """Return the cells of ratio, change of clean accuracy and attack excess over some victims.

    Of a ratio above 1 only 1 counts, so that one victim's surplus does not hide another's loss.
    """
    ratios = [min(s.ratio, 1.0) for s in scores]
    changes = [s.clean_change for s in scores]
    excess = [s.attack_excess for s in scores]
    return [
        f"{mean(ratios):.3f} ({min(ratios):.3f})",
        f"{mean(changes):+.2f} ({min(changes):+.2f})",
        f"{mean(excess):+.1f} ({max(excess):+.1f})",
    ]


def ablation_table(results: Sequence[Mapping[str, Any]]) -> str:
    """Return what builds come to that may choose from fewer repairs, by victim and evidence."""
    families = list(dict.fromkeys(r["family"] for r in results))
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for r in results:
        # A build that refused leaves the victim as it was.
        found = score(r["baseline"], r.get("figures", r["baseline"]))
        cell = f"{found.ratio:.3f}, {found.attack_excess:+.1f}"
        rows.setdefault((r["victim"], r["evidence"]), {})[r["family"]] = cell
    lines = [
        [victim, evidence, *(cells.get(family, "not run") for family in families)]
        for (victim, evidence), cells in rows.items()
    ]
    return markdown_table(["victim", "evidence", *families], lines)


_PASSES = ("passes_clean", "passes_triggered")


def _defences(results: Iterable[Results]) -> list[str]:
    names = dict.fromkeys(run["defence"] for r in results for run in r["runs"])
    return sorted(names, key=lambda name: name != OURS)


def _runs(result: Results, evidence: str) -> list[Mapping[str, Any]]:
    return [run for run in result["runs"] if run["defence"] == OURS and run["evidence"] == evidence]


def _scores(result: Results, evidence: str) -> list[Score]:
    """Return the score of each draw; a build that refused leaves the victim as it was."""
    runs = _runs(result, evidence)
    return [score(result["baseline"], run.get("figures", result["baseline"])) for run in runs]


def mean_scores(results: Iterable[Results], evidence: str) -> list[Score]:
    """Return each victim's mean score over the draws, of those that were measured."""
    draws = (_scores(result, evidence) for result in results)
    return [_mean(scores) for scores in draws if scores]


def _mean(scores: Sequence[Score]) -> Score:
    return Score(
        mean(s.ratio for s in scores),
        mean(s.clean_change for s in scores),
        mean(s.attack_excess for s in scores),
    )


def _cell(result: Results, evidence: str, bar: Bar) -> str:
    draws = _scores(result, evidence)
    if not draws:
        return "not run"
    found = _mean(draws)
    ratio = f"{found.ratio:.3f}"
    if len(draws) > 1:
        ratio += f" (from {min(s.ratio for s in draws):.3f})"
    figures = f"{ratio}, {found.clean_change:+.2f}, {found.attack_excess:+.2f}"
    return f"**{figures}**" if found.misses(bar) else figures


def _count(results: Sequence[Results]) -> tuple[int, int]:
    pairs = [(_scores(r, evidence), bar) for r in results for evidence, bar in BARS.items()]
    measured = [(_mean(draws), bar) for draws, bar in pairs if draws]
    return sum(not found.misses(bar) for found, bar in measured), len(measured)
