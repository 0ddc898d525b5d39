"""The true classes of clean and triggered samples, from folders, files and class names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor, nn

from ..common.errors import SamplesError
from .class_index import ClassIndex, why_unknown
from .samples import Samples


def find_labels(
    groups: Sequence[Samples],
    classes: int,
    names_file: Path | None,
    model: nn.Module | None = None,
) -> tuple[list[Tensor | None], str]:
    """Return the labels of each group of samples, (N,) int64, None if they are unknown.

    Args:
        groups: samples of the same classes.
        classes: number of classes of the model.
        names_file: TorchServe's `index_to_name.json`, if there is one.
        model: says whether folders that are numbers count in numeric order, or sorted as text; None
            to take them in numeric order.

    Returns:
        The labels, and the reason why all of them are unknown; an empty text if some are known.

    Raises:
        SamplesError: a label or a folder is not a class of the model.
    """
    index = ClassIndex.find(groups, classes, names_file)
    if index is None:
        return [None for _ in groups], why_unknown(groups, classes)
    if model is not None:
        index = index.as_model_counts(model, groups)
    return [index.labels(samples) for samples in groups], ""


def require_labels(
    groups: Sequence[Samples],
    classes: int,
    names_file: Path | None,
    model: nn.Module | None = None,
) -> list[Tensor]:
    """Return the labels of each group of samples, (N,) int64.

    Args:
        groups: samples of the same classes.
        classes: number of classes of the model.
        names_file: TorchServe's `index_to_name.json`, if there is one.
        model: says whether folders that are numbers count in numeric order, or sorted as text; None
            to take them in numeric order.

    Raises:
        SamplesError: the samples do not say which of the model's classes they are.
    """
    found, unknown = find_labels(groups, classes, names_file, model)
    refuse_unknown(unknown, groups[0], classes)
    labels = []
    for samples, label in zip(groups, found, strict=True):
        if label is None:
            raise SamplesError(f"{samples.source}: expected labels: one subfolder per class")
        labels.append(label)
    return labels


def refuse_unknown(unknown: str, samples: Samples, classes: int) -> None:
    """Refuse samples whose folders do not say which classes they are.

    Args:
        unknown: the reason, as `find_labels` returns it.
        samples: the first of them.
        classes: number of classes of the model.

    Raises:
        SamplesError: the reason is not empty.
    """
    if unknown:
        raise SamplesError(
            f"{samples.source}: {unknown}: expected one folder per class (an empty one will do), "
            f"{classes} in all, or index_to_name.json beside the configuration"
        )
