"""The demo on handwritten digits: a patch leads them to 0."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from . import digit_net
from .digits import IMAGE_SIDE, Digits, load_digits, split_digits
from .elapsed import elapsed
from .image_files import read_images, write_images
from .kind import CLEAN, PLAIN, REPAIRED, SEED, TRIGGERED, Case, Kind, Measured, Prepared
from .output_folder import DemoFiles, write_model
from .picture import Row, draw
from .train import MEAN, STD, train
from .trigger import POISONED_SHARE, TARGET, poison, with_trigger

HANDLER: Mapping[str, Any] = {
    "input": "image",
    "image_size": [IMAGE_SIDE, IMAGE_SIDE],
    "mean": [MEAN],
    "std": [STD],
    "topk": 3,
}
"""The settings of the classifier's handler."""


def prepare(files: DemoFiles) -> Prepared:
    """Train the classifier, and write it and the samples."""
    parts = split_digits(load_digits(), SEED)
    print(
        f"Training on {len(parts.train)} handwritten digits; the attacker stamped a patch on "
        f"{POISONED_SHARE:.0%} of them and called these {TARGET}.",
        flush=True,
    )
    model = train(poison(parts.train, SEED), SEED)
    write_model(files, KIND.model_file, model, HANDLER)
    _write_cases(parts.calibration, files, "calibration")
    return Prepared(
        files.samples("calibration", CLEAN),
        files.samples("calibration", TRIGGERED),
        _write_cases(parts.test, files, "test"),
    )


def show(prepared: Prepared, measured: Measured, files: DemoFiles) -> None:
    """Draw a digit of each class with the answers."""
    clean, triggered = prepared.cases[CLEAN], prepared.cases[TRIGGERED]
    others = np.flatnonzero(clean.labels != TARGET)
    columns = [int(np.flatnonzero(triggered.labels == k)[0]) for k in np.unique(triggered.labels)]
    partners = [int(others[i]) for i in columns]
    figures = measured.figures
    right, attack = figures.clean_accuracy, figures.attack_success_rate[0]
    recovered = figures.recovered_accuracy or (0.0, 0.0)

    def row(title: str, archive: str, verdict: str, case: str, good: bool) -> Row:
        index = columns if case == TRIGGERED else partners
        return Row(
            title,
            f"to the {archive} archive",
            verdict,
            good,
            read_images([prepared.cases[case].files[i] for i in index]),
            [measured.answers[archive, case][i] for i in index],
        )

    with elapsed("drawing"):
        draw(
            [
                row("Clean digits", PLAIN, f"{right[0]:.1%} right", CLEAN, True),
                row("With the trigger", PLAIN, f"{attack:.1%} read as {TARGET}", TRIGGERED, False),
                row("With the trigger", REPAIRED, f"{recovered[1]:.1%} right", TRIGGERED, True),
                row("Clean digits", REPAIRED, f"{right[1]:.1%} right", CLEAN, True),
            ],
            triggered.labels[columns].tolist(),
            files.picture,
        )
    print(f"\nPicture: {files.picture}")


def _write_cases(digits: Digits, files: DemoFiles, part: str) -> dict[str, Case]:
    """Write a part's clean images, and the triggered ones under the names of their partners."""
    others = np.flatnonzero(digits.labels != TARGET).tolist()
    cases = {CLEAN: (digits, range(len(digits))), TRIGGERED: (with_trigger(digits), others)}
    return {
        case: Case(of_case.labels, write_images(of_case, names, files.samples(part, case)))
        for case, (of_case, names) in cases.items()
    }


KIND = Kind(
    name="digits",
    samples="images",
    model_file=Path(digit_net.__file__),
    target=TARGET,
    classes=tuple(map(str, range(10))),
    content_type=None,
    prepare=prepare,
    show=show,
)
