"""The data sets that BackdoorBench attacks: how their images are prepared, and where they lie."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

from ..common.errors import AttackResultError
from .attack_result import AttackResult
from .cifar import read_cifar_10, read_cifar_100
from .clean_set import CleanSet
from .gtsrb import read_gtsrb
from .tiny_imagenet import read_tiny_imagenet


@dataclass(frozen=True)
class DataSet:
    """A data set.

    Attributes:
        classes: number of classes.
        mean: subtracted per channel from images in [0, 1].
        std: divided by per channel, after the mean was subtracted.
        place: of the test images, in the folder of the data set.
        read: reads them.
    """

    classes: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    place: PurePosixPath
    read: Callable[[Path], CleanSet]


DATA_SETS: Mapping[str, DataSet] = {
    "cifar10": DataSet(
        10,
        (0.4914, 0.4822, 0.4465),
        (0.247, 0.243, 0.261),
        PurePosixPath("cifar-10-batches-py/test_batch"),
        read_cifar_10,
    ),
    "cifar100": DataSet(
        100,
        (0.5071, 0.4865, 0.4409),
        (0.2673, 0.2564, 0.2762),
        PurePosixPath("cifar-100-python/test"),
        read_cifar_100,
    ),
    "gtsrb": DataSet(
        43, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), PurePosixPath("Test/GT-final_test.csv"), read_gtsrb
    ),
    "tiny": DataSet(
        200,
        (0.4802, 0.4481, 0.3975),
        (0.2302, 0.2265, 0.2262),
        PurePosixPath("tiny-imagenet-200/val"),
        read_tiny_imagenet,
    ),
}
"""By BackdoorBench's names."""


def data_set_of(result: AttackResult) -> DataSet:
    """Return the data set of a result.

    Raises:
        AttackResultError: it is none of those that are known, or has another number of classes.
    """
    found = DATA_SETS.get(result.data_set)
    if found is None:
        raise AttackResultError(
            f"{result.path}: clean_data is {result.data_set!r}, expected one of "
            f"{', '.join(DATA_SETS)}, whose preparation is known"
        )
    if found.classes != result.classes:
        raise AttackResultError(
            f"{result.path}: num_classes is {result.classes}, but {result.data_set} has "
            f"{found.classes} classes"
        )
    return found


def find_test_images(result: AttackResult, data_set: DataSet, given: Path | None) -> Path:
    """Return where the clean test images of a data set lie.

    Args:
        result: the result. Its data_path, from `data` on, is looked for in its folder and in every
            folder above.
        data_set: its data set.
        given: a folder to look in, in their place.

    Raises:
        AttackResultError: they are not there.
    """
    if given is None:
        parts = PureWindowsPath(result.data_path).parts
        from_data = [i for i, part in enumerate(parts) if part == "data"]
        tail = parts[from_data[-1] :] if from_data else parts[-1:]
        folders = [
            folder.joinpath(*tail)
            for folder in (result.folder, *result.folder.parents)
            if ".." not in tail
        ]
    else:
        folders = [given, given / result.data_set]
    for folder in folders:
        for place in (folder / data_set.place, folder / data_set.place.name):
            if place.exists():
                return place
    where = f"in {given}" if given else f"at {result.data_path!r} in a folder above the result's"
    raise AttackResultError(
        f"{result.path}: the clean test images of {result.data_set} are not {where}: give --data "
        f"with the folder that holds {data_set.place}"
    )


def read_test_images(result: AttackResult, data_set: DataSet, place: Path) -> CleanSet:
    """Read the clean test images, and hold their classes against those of the result.

    Raises:
        AttackResultError: they cannot be read, or are others than those that were attacked.
    """
    try:
        clean = data_set.read(place)
    except OSError as error:
        raise AttackResultError(f"{place}: cannot be read: {error.strerror}") from None
    if not set(clean.labels) <= set(range(data_set.classes)) or (
        clean.names and len(clean.names) != data_set.classes
    ):
        raise AttackResultError(
            f"{place}: holds {len(set(clean.labels))} classes, expected the {data_set.classes} of "
            f"{result.data_set}"
        )
    for image in result.triggered:
        found = clean.labels[image.index] if image.index < len(clean.labels) else None
        if found != image.label:
            raise AttackResultError(
                f"{place}: the clean image {image.index} "
                + (f"is of class {found}" if found is not None else "is not there")
                + f", but its triggered partner in {result.path} of class {image.label}: expected "
                "the test images that were attacked, in their order"
            )
    return clean
