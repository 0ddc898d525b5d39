"""The class that `--target` names."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ...samples.samples import Samples
    from ...source.model_source import ModelSource


def target_class(args: argparse.Namespace, source: ModelSource, *groups: Samples) -> int | None:
    """Return the index of the class that `--target` names; None where it is to be found.

    Args:
        args: of the command.
        source: the model; the names are those of its `index_to_name.json`.
        groups: samples, whose folders have names where there is no such file.

    Raises:
        SamplesError: no class is called so.
    """
    if not isinstance(args.target, str):
        index: int | None = args.target
        return index
    from ...common.errors import SamplesError
    from ...samples.class_index import class_called
    from ...samples.predict import logits_of

    description = groups[0].description if groups else source.describe_input()
    classes = logits_of(source.loaded.model, description.example()).shape[1]
    try:
        return class_called(args.target, groups, classes, source.names_file)
    except SamplesError as error:
        raise SamplesError(f"--target: {error}") from None
