"""The report on a build: a picture of what its candidate layers do, and the numbers beside it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from handler.bundle import Bundle

from .errors import OutputError
from .metrics import Figures
from .report_picture import draw
from .search import Choice
from .sweep import LayerSweep
from .write_file import check_writable, write_files

NUMBERS, PICTURE = "report.json", "layers.png"


def check_report_folder(folder: Path) -> None:
    """Refuse a folder that takes no report, before the work for it begins.

    Raises:
        OutputError: it is no folder, or neither exists nor can be made.
    """
    if folder.is_dir():
        for name in (NUMBERS, PICTURE):
            check_writable(folder / name)
    elif folder.exists():
        raise OutputError(f"{folder}: is a file, expected a folder")
    else:
        check_writable(folder)


def write_report(
    sweeps: Sequence[LayerSweep], choice: Choice, bundle: Bundle, folder: Path
) -> None:
    """Write `report.json` and `layers.png`; an older report stays until both are on the disk.

    Args:
        sweeps: what each candidate layer does.
        choice: what the build settled on.
        bundle: the bundle it made, as saved.
        folder: where to; it is made if only its last part is missing.

    Raises:
        OutputError: the folder or the files cannot be written.
    """
    numbers = json.dumps(_numbers(sweeps, choice, bundle), indent=2, allow_nan=False) + "\n"
    picture = draw(sweeps, choice, bundle.model_class, bundle.target)
    check_report_folder(folder)
    existed = folder.is_dir()
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made: {error.strerror}") from None
    try:
        write_files({folder / PICTURE: picture, folder / NUMBERS: numbers.encode()})
    except BaseException:
        if not existed:
            folder.rmdir()
        raise


def _numbers(sweeps: Sequence[LayerSweep], choice: Choice, bundle: Bundle) -> dict[str, Any]:
    return {
        "bundle_sha256": bundle.digest,
        "model_class": bundle.model_class,
        "target": bundle.target,
        "evidence": dict(bundle.evidence),
        "held_out": dict(bundle.held_out),
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
