"""The comparison as JSON, with all draws."""

from __future__ import annotations

import json
from typing import Any

from .cells import shares
from .summary import Row, Summary

NAMES = ("clean_accuracy", "attack_success_rate", "recovered_accuracy")


def json_table(summary: Summary) -> str:
    """Return the text of the file; shares are in [0, 1]."""
    return json.dumps(json_values(summary), indent=2) + "\n"


def json_values(summary: Summary) -> dict[str, Any]:
    """Return the same as JSON values."""
    subject, before = summary.subject, summary.before
    clean, triggered = summary.drawn
    calibration = subject.calibration
    return {
        "model": subject.loaded.class_name,
        "weights_sha256": subject.loaded.weights_sha256,
        "targets": list(subject.targets),
        "paired": calibration.paired,
        "calibration": {
            "draws": summary.draws,
            "seed": summary.seed,
            "clean": clean,
            "triggered": triggered,
            "drawn_from": {
                "clean": len(calibration.clean),
                "triggered": len(calibration.triggered),
            },
        },
        "test": {
            "clean": before.counts[0],
            "triggered": before.counts[1],
            "held_out": subject.held_out,
        },
        "natural_rate": None if before.natural_rate is None else before.natural_rate[0],
        "ceiling": before.ceiling,
        "defences": [_row(row) for row in summary.rows],
    }


def _row(row: Row) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    if row.measured:
        figures = {name: each.to_json() for name, each in zip(NAMES, shares(row), strict=True)} | {
            "flagged": {kind: row.average(f"flagged_{kind}") for kind in ("clean", "triggered")},
            "build_seconds": row.average("build_seconds"),
            "passes": {kind: row.average(f"passes_{kind}") for kind in ("clean", "triggered")},
            "time_ratio": row.average("time_ratio"),
        }
    return {
        "defence": row.name,
        **figures,
        "remark": row.remark or None,
        "draws": [each.to_json() for each in row.outcomes],
    }
