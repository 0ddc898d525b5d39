"""What a report calls the classes of a model."""

from __future__ import annotations

from ..samples.class_label import Label, label_in
from ..source.model_source import ModelSource


def class_label(source: ModelSource) -> Label:
    """Return what calls a class by its index, and by its name in `index_to_name.json`, if any.

    Raises:
        ConfigError: that file cannot be read.
    """
    return label_in(source.names_file)
