"""The report on a build: a picture of what its candidate layers do, and the numbers beside it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torchserve_fire.format.bundle import Bundle

from ..choose.build_record import Calibration
from ..common.write_file import check_folder, made_folder, write_folder
from ..measure.by_target import of_target
from ..measure.figures import Figures
from .layers_picture import draw
from .sweep import LayerSweep, sweep

NUMBERS, PICTURE = "report.json", "layers.png"


def check_report_folder(folder: Path) -> None:
    """Refuse a folder that takes no report, before the work for it begins.

    Raises:
        OutputError: it is no folder, or neither exists nor can be made.
    """
    check_folder(folder, (NUMBERS, PICTURE))


def write_reports(calibrations: Sequence[Calibration], bundle: Bundle, folder: Path) -> list[Path]:
    """Write a report on the repair of each target; of several, into `class_N` of the folder each.

    Args:
        calibrations: what the build made its choices from, one for each target.
        bundle: the bundle it made, as saved.
        folder: where to; it is made if only its last part is missing.

    Returns:
        The folders of the reports.

    Raises:
        OutputError: a folder or the files cannot be written.
    """
    if len(calibrations) == 1:
        write_report(sweep(calibrations[0]), calibrations[0], bundle, folder)
        return [folder]
    check_report_folder(folder)
    sweeps = [sweep(calibration) for calibration in calibrations]
    folders = [folder / f"class_{calibration.target}" for calibration in calibrations]
    with made_folder(folder):
        for swept, calibration, each in zip(sweeps, calibrations, folders, strict=True):
            write_report(swept, calibration, bundle, each)
    return folders


def write_report(
    sweeps: Sequence[LayerSweep], calibration: Calibration, bundle: Bundle, folder: Path
) -> None:
    """Write `report.json` and `layers.png`; an older report stays until both are on the disk.

    Args:
        sweeps: what each candidate layer does.
        calibration: what they were measured by, and what the build settled on.
        bundle: the bundle it made, as saved.
        folder: where to; it is made if only its last part is missing.

    Raises:
        OutputError: the folder or the files cannot be written.
    """
    numbers = json.dumps(_numbers(sweeps, calibration, bundle), indent=2, allow_nan=False) + "\n"
    picture = draw(
        sweeps,
        calibration.choice,
        bundle.model_class,
        calibration.target,
        guessed=calibration.held_out.guessed,
    )
    write_folder(folder, {PICTURE: picture, NUMBERS: numbers.encode()})


def _numbers(
    sweeps: Sequence[LayerSweep], calibration: Calibration, bundle: Bundle
) -> dict[str, Any]:
    choice, target = calibration.choice, calibration.target
    return {
        "bundle_sha256": bundle.digest,
        "model_class": bundle.model_class,
        "target": target,
        "evidence": of_target(bundle.evidence, target),
        "held_out": of_target(bundle.held_out, target),
        "choice": {
            "form": choice.form,
            "telling": None
            if choice.teller is None
            else {"layer": choice.teller[1], "teller": choice.teller[0]},
            "repairing": {
                "layer": choice.repair.layer,
                "estimator": choice.repair.estimator,
                "strength": choice.repair.strength,
            },
        },
        "layers": [
            {
                "layer": swept.layer,
                "auc": dict(swept.auc),
                "strengths": [
                    {
                        "strength": point.strength,
                        "every_input": _after(point.every_input),
                        "flagged_inputs": _after(point.flagged_inputs),
                    }
                    for point in swept.points
                ],
            }
            for swept in sweeps
        ],
    }


def _after(figures: Figures | None) -> dict[str, float | None] | None:
    if figures is None:
        return None
    recovered = figures.recovered_accuracy
    return {
        "clean_accuracy": figures.clean_accuracy[1],
        "attack_success_rate": figures.attack_success_rate[1],
        "recovered_accuracy": None if recovered is None else recovered[1],
    }
