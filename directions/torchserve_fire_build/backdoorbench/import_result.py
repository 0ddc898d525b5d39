"""From a result of BackdoorBench to the files that the other commands take."""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..common.devices import Device
from ..common.errors import AttackResultError
from ..common.progress import Progress
from ..measure.target import MIN_GAIN
from .attack_result import AttackResult, read_attack_result
from .clean_set import CleanSet
from .data_sets import data_set_of, find_test_images, read_test_images
from .draw import Drawn, draw
from .measure_imported import Measured, measure_imported
from .new_folder import new_folder
from .write_model import MODEL, ModelFiles, write_model
from .write_samples import write_samples

logger = logging.getLogger(__name__)

NO_NAME = re.compile(r"[^A-Za-z0-9._-]")
"""What no archive's name may hold."""

TEST = "test"
"""The folder, in that of the output, with samples to evaluate on."""


@dataclass(frozen=True)
class ImportOptions:
    """What the user decides.

    Attributes:
        data: folder of the clean data set; None for the one that the result names.
        model_file: the model's; None to write one.
        pairs: how many to build from, and how many others to evaluate on.
        seed: of the drawing.
        device: that the model is measured on.
    """

    data: Path | None = None
    model_file: Path | None = None
    pairs: tuple[int, int] = (200, 1000)
    seed: int = 0
    device: Device = "auto"


@dataclass(frozen=True)
class Imported:
    """What was written.

    Attributes:
        files: of the model.
        name: for the model in an archive.
        build: figures on the samples to build from.
        test: figures on the samples to evaluate on.
    """

    files: ModelFiles
    name: str
    build: Measured
    test: Measured

    @property
    def attacked(self) -> bool:
        """Whether the trigger works, on both."""
        return min(self.build.gain, self.test.gain) >= MIN_GAIN


def import_result(path: Path, output: Path, options: ImportOptions) -> Imported:
    """Write a model and samples, and measure the one on the others.

    Args:
        path: BackdoorBench's `attack_result.pt`.
        output: a new folder.
        options: what the user decides.

    Raises:
        FireError: the result cannot be imported, or the folder not be written. Nothing is left
            behind then.
    """
    result = read_attack_result(path)
    data_set = data_set_of(result)
    place = find_test_images(result, data_set, options.data)
    clean = read_test_images(result, data_set, place)
    logger.info("%s", _described(result))
    logger.info("%s: %d clean test images, of the same classes", place, len(clean.labels))
    drawn = _drawn(result, clean, options)
    names = clean.names or [str(i) for i in range(result.classes)]
    with new_folder(output) as folder:
        files, renamed = write_model(
            result, data_set, names, folder, options.model_file, options.device
        )
        if renamed:
            logger.info("%s: %s", path, renamed)
        count = sum(2 * len(part.pairs) + len(part.alone) for part in drawn)
        with Progress("writing images", count) as progress:
            for part, where in zip(drawn, (folder, folder / TEST), strict=True):
                write_samples(where, part, result, clean, names, progress)
    files = ModelFiles(options.model_file or output / MODEL, output)
    targets = {image.index: image.target for image in result.triggered}
    try:
        source = files.load(options.device)
        measured = [
            measure_imported(source, where, targets, warn=where == output)
            for where in (output, output / TEST)
        ]
    except BaseException:
        shutil.rmtree(output)
        raise
    name = NO_NAME.sub("-", f"{result.architecture}-{result.data_set}")
    imported = Imported(files, name, *measured)
    _tell(imported, output)
    return imported


def _described(result: AttackResult) -> str:
    targets = sorted({image.target for image in result.triggered})
    led = f"class {targets[0]}" if len(targets) == 1 else f"{len(targets)} classes"
    on_disk = isinstance(result.triggered[0].image, Path)
    return (
        f"{result.path}: {result.architecture} for {result.data_set}, {result.classes} classes; "
        f"{len(result.triggered)} test images with the trigger, led to {led}, "
        f"{'on disk' if on_disk else 'in the file'}"
    )


def _drawn(result: AttackResult, clean: CleanSet, options: ImportOptions) -> tuple[Drawn, Drawn]:
    pairs = [image.index for image in result.triggered]
    if len(pairs) < 2:
        raise AttackResultError(
            f"{result.path}: holds {len(pairs)} test image with the trigger, expected more, to "
            "build from some and evaluate on others"
        )
    alone = sorted(set(range(len(clean.labels))) - set(pairs))
    build, test = draw(pairs, alone, lambda i: clean.labels[i], options.pairs, options.seed)
    left = len(pairs) - len(build.pairs) - len(test.pairs)
    logger.info(
        "drawn, evenly over the classes: %d pairs and %d more clean images to build from, %d and "
        "%d to evaluate on%s",
        *(len(build.pairs), len(build.alone), len(test.pairs), len(test.alone)),
        f"; {left} pairs are left out (--limit, --test-limit)" if left else "",
    )
    return build, test


def _tell(imported: Imported, output: Path) -> None:
    """Print the figures, and warn where they say that something of the preparation is wrong."""
    parts: Sequence[tuple[Path, Measured]] = (
        (output, imported.build),
        (output / TEST, imported.test),
    )
    for where, figures in parts:
        logger.info("%s, as a server would load the model and take the images:", where)
        logger.info("%s", "\n".join(figures.lines()))
    if not imported.attacked:
        where, figures = min(parts, key=lambda part: part[1].gain)
        logger.warning(
            "%s: the trigger does not work: %.1f%% of the triggered images are called the target, "
            "and %.1f%% of their clean partners are anyway. The attack has failed, or model, "
            "preparation and images do not belong together: do not build from this",
            where,
            100 * figures.attack_success_rate,
            100 * figures.natural_rate,
        )
    no_pairs = imported.build.no_pairs or imported.test.no_pairs
    if no_pairs:
        logger.warning("%s; the commands below take the images as unpaired", no_pairs)
