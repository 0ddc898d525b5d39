"""What a report calls the classes."""

from __future__ import annotations

from collections.abc import Callable

from torchserve_fire.model.class_names import read_class_names

from ..source.model_source import ModelSource

Label = Callable[[int], str]
"""Returns what a class index is called."""


def class_label(source: ModelSource) -> Label:
    """Return what calls a class by its index, and by its name in `index_to_name.json`, if any.

    Raises:
        ConfigError: that file cannot be read.
    """
    if source.names_file is None or not source.names_file.is_file():
        return str
    # TorchServe answers the last name.
    names = [each[-1] for each in read_class_names(source.names_file)]
    return lambda index: f"{index} {names[index]}" if index < len(names) else str(index)
