"""The tables of how altered triggers fare, with builds that alter triggers and that do not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any

from .altered_triggers import ALTERED
from .markdown_table import markdown_table

Row = Mapping[str, Any]
NOT_MEASURED = "Not measured yet.\n"
BUILDS = {"standard": "default build", "none": "build without alteration"}
SHOWN_EVIDENCE = "paired 200"
UNPAIRED = "unpaired 100"
GIVEN = ("public-", "zoo-")
"""How the names of victims begin that were not trained for the benchmark."""
RATIO = 0.97
"""Of recovered accuracy to its ceiling, at least, from the evidence that is shown one by one."""
EXCESS = {"paired 200": 3.0, "paired 20": 6.0, "unpaired 100": 6.0}
"""Of the attack success rate above the natural rate, in points, at most."""
EXCESS_VIT = 5.0
"""Of a vision transformer, at least so much is granted."""


@dataclass(frozen=True)
class Outcome:
    """How images with an altered trigger fare with a bundle, over the draws of its evidence.

    Attributes:
        excess: attack success rate above the natural rate, in points.
        ratio: recovered accuracy over its ceiling.
        lowest: the lowest ratio of a draw.
        flagged: in percent; None where nothing judges.
        draws: their number.
        refused: the number of draws of which there is no bundle; these count as unrepaired.
    """

    excess: float
    ratio: float
    lowest: float
    flagged: float | None
    draws: int
    refused: int


def unpaired_table(rows: Sequence[Row]) -> str:
    """Return how altered triggers fare on the given victims with bundles from unpaired samples."""
    return altered_table([row for row in rows if row["victim"].startswith(GIVEN)], UNPAIRED)


def altered_table(rows: Sequence[Row], evidence: str = SHOWN_EVIDENCE) -> str:
    """Return how altered triggers fare with bundles from one kind of evidence.

    What misses a bar is bold.
    """
    rows = [row for row in rows if row["evidence"] == evidence]
    if not rows:
        return NOT_MEASURED
    parts = ("ASR above natural", "RA / ceiling (lowest)", "flagged")
    headings = ["victim", "trigger", "ASR without repair"]
    headings += [f"{build}: {part}" for build in BUILDS.values() for part in parts]
    lines = []
    for victim in _victims(rows):
        own = [row for row in rows if row["victim"] == victim]
        rates = {
            name: 100 * mean(row["triggers"][name]["attack_success_rate_before"] for row in own)
            for name in ALTERED
        }
        cells = {
            name: [_cells(outcome(own, name, build), _excess(victim, evidence)) for build in BUILDS]
            for name in _obeyed(own)
        }
        found = [[n, f"{rates[n]:.1f}", *first, *second] for n, (first, second) in cells.items()]
        ignored = [f"{name} ({rate:.1f})" for name, rate in rates.items() if name not in cells]
        if ignored:
            blank = [""] * (len(headings) - 2)
            found.append([f"obeyed in less than half: {', '.join(ignored)}", *blank])
        names = [victim] + [""] * (len(found) - 1)
        lines += [[name, *line] for name, line in zip(names, found, strict=True)]
    draws, images = ({row[key] for row in rows} for key in ("seed", "images"))
    measured = f"Draws of the evidence: {len(draws)}. Test images: {_range(images)}.\n"
    return f"{markdown_table(headings, lines)}\n{measured}"


def met_table(rows: Sequence[Row]) -> str:
    """Return how many of the altered triggers that victims obey are within the bars."""
    if not rows:
        return NOT_MEASURED
    headings = ["bundles from", "ASR above natural, at most", "RA / ceiling, at least"]
    lines = []
    for evidence, excess in EXCESS.items():
        granted = f"{excess:g}"
        if excess < EXCESS_VIT:
            granted += f" (ViT: {EXCESS_VIT:g})"
        counts = [_count([r for r in rows if r["evidence"] == evidence], b) for b in BUILDS]
        lines.append(
            [evidence, granted, f"{RATIO:g}" if evidence == SHOWN_EVIDENCE else "any", *counts]
        )
    return markdown_table([*headings, *BUILDS.values()], lines)


def outcome(rows: Sequence[Row], trigger: str, build: str) -> Outcome | None:
    """Return how a trigger fares over the draws of one victim; None where it was not measured.

    Args:
        rows: of one victim and one kind of evidence.
        trigger: a name in `ALTERED`.
        build: a name in `BUILDS`.
    """
    rows = [row for row in rows if row["augment"] == build and _is_judged(row, trigger)]
    if not rows:
        return None
    found = [row["triggers"][trigger] for row in rows]
    natural = [row["clean"]["natural_rate"] for row in rows]
    pairs = zip(found, natural, strict=True)
    ratios = [each["recovered_to_ceiling"] for each in found]
    flagged = [each["flagged"] for each in found if each["flagged"] is not None]
    return Outcome(
        excess=100 * mean(each["attack_success_rate"] - rate for each, rate in pairs),
        ratio=mean(ratios),
        lowest=min(ratios),
        flagged=100 * mean(flagged) if flagged else None,
        draws=len(rows),
        refused=sum("refused" in row for row in rows),
    )


def _cells(found: Outcome | None, excess: float) -> list[str]:
    if found is None:
        return ["not measured", "", ""]
    ratio = f"{found.ratio:.3f}"
    if found.draws > 1:
        ratio += f" ({found.lowest:.3f})"
    flagged = "" if found.flagged is None else f"{found.flagged:.1f}"
    if found.refused:
        flagged = f"{flagged} {found.refused} of {found.draws} builds refused".strip()
    return [
        _bold(f"{found.excess:+.1f}", missed=found.excess > excess),
        _bold(ratio, missed=found.ratio < RATIO),
        flagged,
    ]


def _bold(text: str, *, missed: bool) -> str:
    return f"**{text}**" if missed else text


def _count(rows: Sequence[Row], build: str) -> str:
    """Return how many victims and triggers are within the bars, of how many."""
    met = measured = 0
    for victim in _victims(rows):
        own = [row for row in rows if row["victim"] == victim]
        for name in ALTERED:
            found = outcome(own, name, build)
            if found is not None:
                measured += 1
                met += _meets(found, victim, own[0]["evidence"])
    return f"{met} of {measured}" if measured else "not measured"


def _meets(found: Outcome, victim: str, evidence: str) -> bool:
    """Return whether an outcome is within the bars; with less evidence, the ratio has none."""
    enough = found.ratio >= RATIO or evidence != SHOWN_EVIDENCE
    return enough and found.excess <= _excess(victim, evidence)


def _excess(victim: str, evidence: str) -> float:
    return max(EXCESS[evidence], EXCESS_VIT if victim.endswith("-vit") else 0)


def _victims(rows: Sequence[Row]) -> list[str]:
    return sorted({row["victim"] for row in rows})


def _obeyed(rows: Sequence[Row]) -> list[str]:
    return [name for name in ALTERED if any(_is_judged(row, name) for row in rows)]


def _is_judged(row: Row, trigger: str) -> bool:
    return "attack_success_rate" in row["triggers"][trigger]


def _range(values: set[int]) -> str:
    least, most = min(values), max(values)
    return f"{least}" if least == most else f"{least} to {most}"
