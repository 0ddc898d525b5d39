"""What a demo is about: what each kind brings, and what all kinds share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..measure.figures import Figures
from .ask_server import Answer
from .output_folder import DemoFiles

CLEAN, TRIGGERED = "clean", "triggered"
PLAIN, REPAIRED = "plain", "repaired"
SEED = 0


@dataclass(frozen=True)
class Case:
    """Test samples of one kind, clean or triggered.

    Attributes:
        labels: the true classes, (N,) int64.
        files: of each sample the body of its request.
    """

    labels: npt.NDArray[np.int64]
    files: Sequence[Path]


@dataclass(frozen=True)
class Prepared:
    """What lies in the folder before anything is built.

    Attributes:
        clean: clean calibration samples, as `build --clean` takes them.
        triggered: triggered ones, as `build --triggered` takes them.
        cases: the test samples, `CLEAN` and `TRIGGERED`. The triggered ones are the clean ones of
            other classes than the target, in the same order.
    """

    clean: Path
    triggered: Path
    cases: Mapping[str, Case]


@dataclass(frozen=True)
class Measured:
    """What the server answered.

    Attributes:
        answers: by archive, `PLAIN` or `REPAIRED`, and case.
        figures: before (the plain archive) and after repair (the repaired one).
    """

    answers: Mapping[tuple[str, str], Sequence[Answer]]
    figures: Figures


@dataclass(frozen=True)
class Kind:
    """A kind of demo.

    Attributes:
        name: of the kind; archives and the bundle are called after it.
        samples: what its samples are called, in the plural.
        model_file: Python file of the classifier's class.
        target: the class that the trigger leads to.
        classes: names of the classes, as the server answers them.
        content_type: of the requests; None to send none.
        prepare: trains the classifier, writes its weights and the samples, and says what the
            attacker did.
        show: shows some cases with the answers, in print or as a picture.
        pack: packs the plain archive, a file NAME-VERSION.mar, with a handler of its own, and
            returns the command that does the same; None for the handler of this project.
    """

    name: str
    samples: str
    model_file: Path
    target: int
    classes: Sequence[str]
    content_type: str | None
    prepare: Callable[[DemoFiles], Prepared]
    show: Callable[[Prepared, Measured, DemoFiles], None]
    pack: Callable[[DemoFiles, Path], str] | None = None
