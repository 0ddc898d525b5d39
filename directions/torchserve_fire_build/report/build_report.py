"""The report on a build: a picture of what its candidate layers do, and the same as numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torchserve_fire.format.bundle import Bundle
from torchserve_fire.format.write_file import check_folder, made_folder, write_folder

from ..choose.build_record import BuildRecord
from ..choose.choice import Choice
from ..measure.by_target import of_target
from ..measure.figures import COLUMNS, Figures
from ..samples.class_label import Label
from .evaluation_report import repair_verdict
from .html_report import Picture, Report, Table, render
from .layers_picture import draw
from .sweep import LayerSweep, sweep

NUMBERS, PICTURE, PAGE = "report.json", "layers.png", "report.html"

HELD_OUT = (
    "Each calibration sample is answered by repairs that were estimated without it. A bundle is "
    "measured on other samples by evaluate --report."
)


def check_report_folder(folder: Path) -> None:
    """Refuse a folder that cannot take a report, before the work begins.

    Raises:
        OutputError: it is not a folder, or it neither exists nor can be made.
    """
    check_folder(folder, (NUMBERS, PICTURE, PAGE))


def write_reports(
    records: Sequence[BuildRecord],
    figures: Sequence[Figures],
    bundle: Bundle,
    provenance: Mapping[str, str],
    folder: Path,
    label: Label = str,
) -> list[Path]:
    """Write a report on the repair of each target; with several, each into its folder `class_N`.

    Args:
        records: what the build made its choices from, one for each target.
        figures: on the held-out calibration samples, one for each target.
        bundle: the bundle that was built, as saved.
        provenance: what it takes to do it again.
        folder: the folder to write to; it is made if only its last part is missing.
        label: says what a class is called.

    Returns:
        The folders of the reports.

    Raises:
        OutputError: a folder or the files cannot be written.
    """
    if len(records) == 1:
        write_report(sweep(records[0]), records[0], figures[0], bundle, provenance, folder, label)
        return [folder]
    check_report_folder(folder)
    sweeps = [sweep(record) for record in records]
    folders = [folder / f"class_{record.target}" for record in records]
    with made_folder(folder):
        for swept, record, found, subfolder in zip(sweeps, records, figures, folders, strict=True):
            write_report(swept, record, found, bundle, provenance, subfolder, label)
    return folders


def write_report(
    sweeps: Sequence[LayerSweep],
    record: BuildRecord,
    figures: Figures,
    bundle: Bundle,
    provenance: Mapping[str, str],
    folder: Path,
    label: Label = str,
) -> None:
    """Write the report's files; older ones stay until all are on the disk.

    Args:
        sweeps: what each candidate layer does.
        record: the record that the sweeps were measured from, with the build's choice.
        figures: on the held-out calibration samples.
        bundle: the bundle that was built, as saved.
        provenance: what it takes to do it again.
        folder: the folder to write to; it is made if only its last part is missing.
        label: says what a class is called.

    Raises:
        OutputError: the folder or the files cannot be written.
    """
    numbers = json.dumps(_numbers(sweeps, record, bundle), indent=2, allow_nan=False) + "\n"
    picture = draw(
        sweeps,
        record.choice,
        bundle.model_class,
        label(record.target),
        guessed=record.held_out.guessed,
    )
    verdict, tone = repair_verdict(figures, label)
    page = Report(
        f"Build of a bundle for {bundle.model_class}",
        f"On the calibration samples, each held out in turn: {verdict}",
        tone,
        [Table("Figures", ("", *COLUMNS), figures.rows(), HELD_OUT), _choice(record.choice)],
        {},
        provenance,
        pictures=[Picture(picture, "what detecting and repairing at each candidate layer come to")],
    )
    files = {PICTURE: picture, NUMBERS: numbers.encode(), PAGE: render(page).encode()}
    write_folder(folder, files)


def _choice(choice: Choice) -> Table:
    rows = [("form", choice.form)]
    if choice.detector is not None:
        rows.append(("detects", f"{choice.detector[1]} ({choice.detector[0]})"))
    repair = choice.repair
    rows.append(("repairs", f"{repair.layer} ({repair.estimator}, strength {repair.strength:g})"))
    return Table("What was chosen", ("", "layer"), rows)


def _numbers(sweeps: Sequence[LayerSweep], record: BuildRecord, bundle: Bundle) -> dict[str, Any]:
    choice, target = record.choice, record.target
    return {
        "bundle_sha256": bundle.digest,
        "model_class": bundle.model_class,
        "target": target,
        "evidence": of_target(bundle.evidence, target),
        "held_out": of_target(bundle.held_out, target),
        "choice": {
            "form": choice.form,
            "detection": None
            if choice.detector is None
            else {"layer": choice.detector[1], "detector": choice.detector[0]},
            "correction": {
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
