"""The classes of samples, where nothing can be done without them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from ..common.errors import SamplesError
from .class_index import ClassIndex, why_unknown
from .samples import Samples


def require_labels(
    groups: Sequence[Samples], classes: int, names_file: Path | None
) -> list[Tensor]:
    """Return the labels of each group of samples, (N,) int64.

    Args:
        groups: samples of the same classes.
        classes: number of classes of the model.
        names_file: TorchServe's `index_to_name.json`, if there is one.

    Raises:
        SamplesError: the samples do not say which of the model's classes they are.
    """
    index = ClassIndex.find(groups, classes, names_file)
    if index is None:
        raise SamplesError(
            f"{groups[0].source}: {why_unknown(groups, classes)}: expected one folder per class "
            f"(an empty one will do), {classes} in all, or index_to_name.json beside the "
            "configuration"
        )
    labels = []
    for samples in groups:
        label = index.labels(samples)
        if label is None:
            raise SamplesError(f"{samples.source}: expected labels: one subfolder per class")
        labels.append(label)
    return labels
