"""Fits what a verdict is computed by, and judges models by fits that never saw them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
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
from torchserve_fire_build.scan.turned_images import Turned
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

NOT_MADE_FOR = ("tact-",)
"""Attacks that no scan can show, as it is: they do not count in the fit. Verdicts on them count."""

LEAST_USUAL = 0.01
"""What is usual is at least this: of a search that finds nothing, it would be 0."""

LEAST_KEPT = 0.01
"""Probabilities of classes below this are not written down."""

UNIT = 0.05
"""Shares of inputs that follow are told apart by differences of about this."""

DECAY = 0.002
"""Of the squared slope, or mean weight: without it, models that are told apart perfectly have one
without a bound."""

SHARED = 0.003
"""Draws the weights of the searches to each other, in squared differences of their logarithms."""


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
    turned = [Turned(*each) for each in row["turned"]]
    return Scan(row["classes"], leads, comparisons, [], each, places, turned)


def fit(rows: Sequence[Row]) -> tuple[Tensor, Tensor, float]:
    """Fit what is usual, and the logistic regression on what exceeds it.

    No weight is negative: what stands out never speaks for a benign model. A benign model counts by
    its most suspicious class, a victim by its targets. Victims in which each class leads to another
    one are left out, and those of `NOT_MADE_FOR`. Benign models count as much as victims do, all
    draws of a model as much as one model.

    Args:
        rows: of scans.

    Returns:
        what is usual, and the weights, (len(NAMES),) float64 each; and the offset.
    """
    rows = [row for row in rows if row["targets"] is not None and not _unseen(row)]
    evidence = [evidence_of(scan_of(row)) for row in rows]
    highest = torch.stack([e.amax(0) for e, r in zip(evidence, rows, strict=True) if benign(r)])
    usual = highest.quantile(QUANTILE, dim=0).clamp(min=LEAST_USUAL)
    exceeds = [exceeding(each, usual) for each in evidence]
    prior = torch.tensor([math.log(row["classes"] / FITTED_ON) for row in rows])
    logs = torch.zeros(len(usual), dtype=torch.float64, requires_grad=True)

    def odds() -> Tensor:
        weighed = [each @ logs.exp() for each in exceeds]
        return torch.stack(
            [
                of_classes.max() if benign(row) else of_classes[row["targets"]].mean()
                for of_classes, row in zip(weighed, rows, strict=True)
            ]
        )

    offset = _regress(
        lambda offset: odds() + offset - prior,
        # Without more evidence, all searches count alike.
        lambda: SHARED * (logs - logs.mean()).square().sum() + DECAY * logs.exp().mean().square(),
        [logs],
        rows,
    )
    return usual, logs.detach().exp(), offset


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
    slope = torch.zeros((), dtype=torch.float64, requires_grad=True)
    offset = _regress(
        lambda offset: slope * followed / UNIT + offset,
        lambda: DECAY * slope.square(),
        [slope],
        rows,
    )
    return float(slope.detach()) / UNIT, offset


def _regress(
    odds: Callable[[Tensor], Tensor],
    penalty: Callable[[], Tensor],
    parameters: Sequence[Tensor],
    rows: Sequence[Row],
) -> float:
    """Fit the log-odds of a backdoor in each row's model; return their offset.

    Args:
        odds: returns them, (rows,), given the offset.
        penalty: of the parameters.
        parameters: that are fitted, beside the offset.
        rows: of scans.
    """
    wanted = torch.tensor([float(not benign(row)) for row in rows], dtype=torch.float64)
    share = torch.tensor([_share(row, rows) for row in rows], dtype=torch.float64)
    offset = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([*parameters, offset], RATE)
    for _ in range(STEPS):
        losses = F.binary_cross_entropy_with_logits(odds(offset), wanted, reduction="none")
        total = (share * losses).sum() + penalty()
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    return float(offset.detach())


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
        usual, weights, offset = fit(of_count(rows, count))
        both = (f"({', '.join(f'{x:.3f}' for x in each.tolist())})" for each in (usual, weights))
        lines = "".join(f"        {part},\n" for part in (*both, f"{offset:.3f}"))
        fits.append(f"    {count}: (\n{lines}    ),\n")
    slope, offset = fit_all_to_all(rows)
    text = (
        '"""What a verdict is computed by, fitted by `python -m benchmarks.scanning --fit`."""\n\n'
        "from __future__ import annotations\n\n"
        "from collections.abc import Mapping\n\n"
        "Fit = tuple[tuple[float, ...], tuple[float, ...], float]\n"
        '"""What each number of `evidence.NAMES` usually reaches in some class of a benign model;\n'
        "weights and offset of the logistic regression on what exceeds it."
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
    return [row for row in rows if row["count"] == count]
