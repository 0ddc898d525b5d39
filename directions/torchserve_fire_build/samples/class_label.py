"""What the classes are called: by the names file of the model, or the folders of samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from torchserve_fire.model.class_names import read_class_names

from .class_index import ClassIndex
from .samples import Samples

Label = Callable[[int], str]
"""Returns what a class index is called: by its index, and by its name, if that is known."""


def label_in(names_file: Path | None) -> Label:
    """Return what calls a class as TorchServe's `index_to_name.json` does; as its index without it.

    Raises:
        ConfigError: the file cannot be read.
    """
    if names_file is None or not names_file.is_file():
        return str
    # TorchServe answers the last name.
    names = [each[-1] for each in read_class_names(names_file)]
    return lambda index: f"{index} {names[index]}" if index < len(names) else str(index)


def label_of(groups: Sequence[Samples], classes: int, names_file: Path | None) -> Label:
    """Return the same; without a names file, what calls a class as the folder of its samples.

    Args:
        groups: samples of the same classes.
        classes: number of classes of the model.
        names_file: as of `ClassIndex.find`.

    Raises:
        ConfigError: the names file cannot be read.
        SamplesError: as of `ClassIndex.find`.
    """
    if names_file is None:
        names_file = next((g.names_file for g in groups if g.names_file), None)
    if names_file is not None:
        return label_in(names_file)
    found = ClassIndex.find(groups, classes, None)
    named = {} if found is None else {i: name for name, i in found.index.items()}
    # Folders that are numbers are no names.
    if all(name.isdecimal() for name in named.values()):
        return str
    return lambda index: f"{index} {named[index]}" if index in named else str(index)
