"""Fits the weights of a scan's evidence, and judges models by weights that never saw them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from torchserve_fire.format.write_file import write_file
from torchserve_fire_build.scan import calibration
from torchserve_fire_build.scan.compare_classes import Comparison
from torchserve_fire_build.scan.evidence import NAMES, evidence_of
from torchserve_fire_build.scan.free_search import Lead
from torchserve_fire_build.scan.scan_model import Scan
from torchserve_fire_build.scan.verdict import USUAL, Verdict, judge_by

Row = Mapping[str, Any]

STEPS, RATE = 1500, 0.05
DECAY = 0.02
"""Weight of the squared weights: with some dozens of models, the evidence could be separated
perfectly, by weights without a bound."""


def scan_of(row: Row) -> Scan:
    """Return the scan that a row is of, without its searches."""
    comparisons = [
        Comparison(
            method,
            found["targets"],
            [],
            found["steps"],
            torch.tensor(found["effort"], dtype=torch.float64),
            torch.tensor(found["success"], dtype=torch.float64),
        )
        for method, found in row["comparisons"].items()
    ]
    leads = [Lead(*lead) for lead in row["leads"]]
    return Scan(row["classes"], leads, None, comparisons, [])


def fit(rows: Sequence[Row]) -> tuple[Tensor, float]:
    """Fit the weights, which are not negative, and the offset.

    A benign model is to have no probable class. A victim is to have probable targets, and no other
    probable class. Victims in which each class leads to another one are left out. Benign models
    count as much as victims do, all draws of a model as much as one model.

    Args:
        rows: of scans.

    Returns:
        (len(NAMES),) float64, and the offset.
    """
    terms = [_terms(row) for row in rows if row["targets"] is not None]
    victims = sorted({row["victim"] for row in rows if row["targets"]})
    benign = sorted({row["victim"] for row in rows if row["targets"] == []})
    draws = {name: sum(row["victim"] == name for row in rows) for name in (*victims, *benign)}
    shares = {
        **{name: 1 / (len(victims) * draws[name]) for name in victims},
        **{name: 1 / (len(benign) * draws[name]) for name in benign},
    }
    share = torch.tensor([shares[row["victim"]] for row in rows if row["targets"] is not None])
    raw = torch.zeros(len(NAMES), dtype=torch.float64, requires_grad=True)
    offset = torch.tensor(-4.0, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([raw, offset], RATE)
    for _ in range(STEPS):
        weights = torch.nn.functional.softplus(raw)
        losses = []
        for evidence, targets, prior in terms:
            odds = evidence @ weights + offset - prior
            others = torch.ones(len(odds), dtype=torch.bool)
            others[targets] = False
            loss = -torch.nn.functional.logsigmoid(-odds[others].max())
            if targets:
                loss = loss - torch.nn.functional.logsigmoid(odds[targets]).mean()
            losses.append(loss)
        total = (torch.stack(losses) * share).sum() + DECAY * weights.square().sum()
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    return torch.nn.functional.softplus(raw).detach(), float(offset.detach())


def _terms(row: Row) -> tuple[Tensor, list[int], float]:
    evidence = evidence_of(scan_of(row))
    return evidence, list(row["targets"]), math.log(row["classes"] / USUAL)


def judge_left_out(rows: Sequence[Row]) -> list[Verdict]:
    """Return the verdict on each row, by weights that were fitted without its model.

    The models take turns in ten groups.
    """
    names = sorted({row["victim"] for row in rows})
    group = {name: i % 10 for i, name in enumerate(names)}
    verdicts: dict[int, Verdict] = {}
    for left_out in sorted(set(group.values())):
        weights, offset = fit([row for row in rows if group[row["victim"]] != left_out])
        for i, row in enumerate(rows):
            if group[row["victim"]] == left_out:
                verdicts[i] = judge_by(evidence_of(scan_of(row)), weights, offset)
    return [verdicts[i] for i in range(len(rows))]


def fit_and_write(rows: Sequence[Row]) -> None:
    """Fit the weights to all rows, and write them to the package."""
    weights, offset = fit(rows)
    numbers = ", ".join(f"{weight:.3f}" for weight in weights.tolist())
    text = (
        '"""The weights of the evidence, fitted by `python -m benchmarks.scanning --fit`."""\n\n'
        "from __future__ import annotations\n\n"
        f"WEIGHTS = ({numbers})\n"
        '"""Of the numbers in `evidence.NAMES`."""\n\n'
        f"OFFSET = {offset:.3f}\n"
    )
    write_file(text.encode(), Path(str(calibration.__file__)))
    print(text)
