"""Fits what a verdict is computed by, and judges models by fits that never saw them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from torchserve_fire.format.write_file import write_file
from torchserve_fire_build.scan import calibration
from torchserve_fire_build.scan.all_to_all import AllToAll
from torchserve_fire_build.scan.compare_classes import Comparison
from torchserve_fire_build.scan.evidence import evidence_of, followed_by
from torchserve_fire_build.scan.findings import Scan
from torchserve_fire_build.scan.free_search import KINDS, Lead
from torchserve_fire_build.scan.place_search import Placed
from torchserve_fire_build.scan.verdict import (
    FITTED_ON,
    Verdict,
    exceeding,
    judge_all_to_all,
    judge_by,
)

from .kept import write_json
from .scanning_roc import draw_roc

Row = Mapping[str, Any]

QUANTILE = 0.9
"""What a number reaches in this share of the benign models, or less, is usual."""

STEPS, RATE = 600, 0.05
COUNTS = (50, 200)
"""Numbers of clean images from which on there is a fit of its own."""

NOT_MADE_FOR = ("tact-", "rotation-")
"""Attacks that no scan can show, as it is: they do not count in the fit. Verdicts on them count."""

LEAST_KEPT = 0.01
"""Probabilities of classes below this are not written down."""

UNIT = 0.05
"""Shares of inputs that follow are told apart by differences of about this."""

DECAY = 0.002
"""Weight of the squared slope: without it, models that are told apart perfectly have a slope
without a bound."""


def scan_of(row: Row) -> Scan:
    """Return the scan that a row is of, without its triggers."""
    comparisons = [
        Comparison(
            method,
            found["targets"],
            found["steps"],
            torch.tensor(found["effort"], dtype=torch.float64),
            torch.tensor(found["success"], dtype=torch.float64),
            torch.zeros(len(found["targets"]), 0),
        )
        for method, found in row["comparisons"].items()
    ]
    leads = [Lead(*lead, KINDS[lead[0]].steps) for lead in row["leads"]]
    each = [AllToAll(kind, {}, followed) for kind, followed in row["all_to_all"]]
    places = [
        Placed(0, 0, int(target), share)
        for target, shares in row["places"].items()
        for share in shares
    ]
    return Scan(row["classes"], leads, comparisons, [], each, places)


def fit(rows: Sequence[Row]) -> tuple[Tensor, float, float]:
    """Fit what is usual, and the logistic regression on what exceeds it.

    A benign model counts by its most suspicious class, a victim by its targets. Victims in which
    each class leads to another one are left out, and those of `NOT_MADE_FOR`. Benign models count
    as much as victims do, all draws of a model as much as one model.

    Args:
        rows: of scans.

    Returns:
        what is usual, (len(NAMES),) float64; the slope; and the offset.
    """
    rows = [row for row in rows if row["targets"] is not None and not _unseen(row)]
    evidence = [evidence_of(scan_of(row)) for row in rows]
    highest = torch.stack([e.amax(0) for e, r in zip(evidence, rows, strict=True) if benign(r)])
    usual = highest.quantile(QUANTILE, dim=0)
    sums = torch.stack(
        [
            exceeding(e, usual).max() if benign(row) else exceeding(e, usual)[row["targets"]].mean()
            for e, row in zip(evidence, rows, strict=True)
        ]
    )
    prior = torch.tensor([math.log(row["classes"] / FITTED_ON) for row in rows])
    return usual, *_regress(sums, prior, rows)


def fit_all_to_all(rows: Sequence[Row]) -> tuple[float, float]:
    """Fit the logistic regression on the share of inputs that follow, each class to another one.

    Victims with targets are left out, and scans that did not look for it.

    Args:
        rows: of scans.

    Returns:
        the slope and the offset.
    """
    rows = [row for row in rows if (benign(row) or row["targets"] is None) and row["all_to_all"]]
    followed = torch.tensor([followed_by(scan_of(row)) for row in rows], dtype=torch.float64)
    slope, offset = _regress(followed / UNIT, torch.zeros(len(rows)), rows)
    return slope / UNIT, offset


def _regress(values: Tensor, prior: Tensor, rows: Sequence[Row]) -> tuple[float, float]:
    """Fit log-odds of a backdoor, slope * value + offset - prior; return slope and offset."""
    wanted = torch.tensor([float(not benign(row)) for row in rows], dtype=torch.float64)
    share = torch.tensor([_share(row, rows) for row in rows], dtype=torch.float64)
    slope, offset = (torch.zeros((), dtype=torch.float64, requires_grad=True) for _ in range(2))
    optimizer = torch.optim.Adam([slope, offset], RATE)
    for _ in range(STEPS):
        odds = slope * values + offset - prior
        losses = F.binary_cross_entropy_with_logits(odds, wanted, reduction="none")
        total = (share * losses).sum() + DECAY * slope.square()
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    return float(slope.detach()), float(offset.detach())


def _unseen(row: Row) -> bool:
    return any(attack in row["victim"] for attack in NOT_MADE_FOR)


def benign(row: Row) -> bool:
    """Return whether a row is of a model without a backdoor."""
    return not row["backdoored"]


def _share(row: Row, rows: Sequence[Row]) -> float:
    """Return how much a row counts."""
    alike = {other["victim"] for other in rows if benign(other) == benign(row)}
    return 1 / (len(alike) * sum(other["victim"] == row["victim"] for other in rows))


def judge_left_out(rows: Sequence[Row]) -> list[Verdict]:
    """Return the verdict on each row, by what was fitted without its model.

    The models take turns in ten groups.
    """
    names = sorted({row["victim"] for row in rows})
    group = {name: i % 10 for i, name in enumerate(names)}
    verdicts: dict[int, Verdict] = {}
    for left_out in sorted(set(group.values())):
        others = [row for row in rows if group[row["victim"]] != left_out]
        of_each_class = fit_all_to_all(others)
        fits = {count: fit(of_count(others, count)) for count in _counts(rows)}
        for i, row in enumerate(rows):
            if group[row["victim"]] == left_out:
                scan = scan_of(row)
                count = max(count for count in fits if count <= row["count"])
                verdicts[i] = replace(
                    judge_by(evidence_of(scan), *fits[count]),
                    all_to_all=judge_all_to_all(followed_by(scan), *of_each_class),
                )
    return [verdicts[i] for i in range(len(rows))]


def _counts(rows: Sequence[Row]) -> list[int]:
    """Return the numbers of `COUNTS` for which there are rows."""
    return [count for count in COUNTS if of_count(rows, count)]


def verdict_rows(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return what is said of each row's model by a fit that never saw it."""
    kept = ("victim", "data", "backdoored", "targets", "classes", "count", "seed", "cpu_seconds")
    return [
        {
            **{name: row[name] for name in kept},
            "found": verdict.found,
            "named": verdict.targets,
            "probability": round(verdict.probability, 4),
            "all_to_all": round(verdict.all_to_all, 4),
            "most_likely": int(verdict.probabilities.argmax()),
            "of_classes": {
                str(target): round(probability, 4)
                for target, probability in enumerate(verdict.probabilities.tolist())
                if probability >= LEAST_KEPT
            },
        }
        for row, verdict in zip(rows, judge_left_out(rows), strict=True)
    ]


def fit_and_write(rows: Sequence[Row], verdicts: Path, picture: Path) -> None:
    """Fit to all rows, and write what was fitted to the package; judge each by other models' fit.

    Args:
        rows: of scans.
        verdicts: the file for what is said of each row's model by a fit that never saw it.
        picture: the file for the curve of these verdicts.
    """
    left_out = verdict_rows(rows)
    write_json(left_out, verdicts)
    write_file(draw_roc(left_out), picture)
    fits = []
    for count in COUNTS:
        usual, slope, offset = fit(of_count(rows, count))
        numbers = ", ".join(f"{number:.3f}" for number in usual.tolist())
        fits.append(f"    {count}: (({numbers}), {slope:.3f}, {offset:.3f}),\n")
    slope, offset = fit_all_to_all(rows)
    text = (
        '"""What a verdict is computed by, fitted by `python -m benchmarks.scanning --fit`."""\n\n'
        "from __future__ import annotations\n\n"
        "from collections.abc import Mapping\n\n"
        "Fit = tuple[tuple[float, ...], float, float]\n"
        '"""What each number of `evidence.NAMES` usually reaches in a benign model,\n'
        "for some class; slope and offset of the logistic regression on what exceeds it."
        '"""\n\n'
        f"FITS: Mapping[int, Fit] = {{\n{''.join(fits)}}}\n"
        '"""By the least number of clean images."""\n\n'
        f"ALL_TO_ALL = ({slope:.3f}, {offset:.3f})\n"
        '"""Slope and offset of the logistic regression on the share of inputs that follow in a\n'
        'search for a backdoor that leads each class to another one."""\n'
    )
    write_file(text.encode(), Path(str(calibration.__file__)))
    print(text)


def of_count(rows: Sequence[Row], count: int) -> list[Row]:
    """Return the rows of scans that a fit for so many images, and more, is made from."""
    above = [other for other in COUNTS if other > count]
    return [row for row in rows if count <= row["count"] < min(above, default=math.inf)]
