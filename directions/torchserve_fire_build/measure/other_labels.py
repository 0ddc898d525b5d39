"""Other ways to count the classes, and how often the model would be right by them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

OtherLabels = tuple[str, str, Tensor, Tensor]
"""A way, in words that follow "if"; what to do; which samples it is measured on, (N,) bool; and
which of these it makes right, (n,) bool."""

SHOWN = 3
"""Classes of another assignment that a message names."""

NAMES_FIRST = "give an index_to_name.json that says which class is which"


def other_labels(
    labels: Tensor, predicted: Tensor, classes: int, class_names: Sequence[str] | None = None
) -> Iterator[OtherLabels]:
    """Yield other ways to count the classes.

    Args:
        labels: the classes as they are counted now, (N,) int64.
        predicted: the classes that the model predicts, (N,) int64.
        classes: number of classes of the model.
        class_names: the samples' folders, (N,); None without folders.

    Yields:
        All ways. What is read from the predictions is measured on samples that it was not read
        from.
    """
    every = torch.ones_like(labels).bool()
    yield (
        "the classes are numbered from 1",
        "number them from 0",
        every,
        predicted == labels - 1,
    )
    yield (
        "the classes are numbered from 0, and the model's first class is another one",
        "number them as the model does",
        every,
        predicted == labels + 1,
    )
    order = sorted(range(classes), key=str)
    if order != list(range(classes)):
        by_text = torch.tensor(order)
        numeric, text = "in numeric order", "sorted as text (0, 1, 10, 2)"
        yield (
            f"the classes are {text} and not {numeric}",
            NAMES_FIRST,
            every,
            by_text[predicted] == labels,
        )
        yield (
            f"the classes are {numeric} and not {text}",
            NAMES_FIRST,
            every,
            predicted == by_text[labels],
        )
    if class_names is not None and len(set(class_names)) == classes:
        place = {name: i for i, name in enumerate(sorted(set(class_names)))}
        ranks = torch.tensor([place[name] for name in class_names])
        yield (
            "the folders are in alphabetical order",
            "correct index_to_name.json, whose order is another",
            every,
            predicted == ranks,
        )
    yield from _most_often_called(labels, predicted, classes)


def _most_often_called(labels: Tensor, predicted: Tensor, classes: int) -> Iterator[OtherLabels]:
    """Yield the assignment of each class to the one that the model calls it most often.

    It is read from half of the samples, and measured on the others. No two classes are assigned to
    the same one: a model that calls everything the same would else be right.
    """
    read = torch.zeros(len(labels), dtype=torch.bool)
    for k in range(classes):
        rows = (labels == k).nonzero().flatten()
        read[rows[: len(rows) // 2]] = True
    table = torch.zeros(classes, classes, dtype=torch.int64)
    table.index_put_((labels[read], predicted[read]), torch.tensor(1), accumulate=True)
    assigned: dict[int, int] = {}
    for place in table.flatten().argsort(descending=True, stable=True).tolist():
        k, called = divmod(place, classes)
        if table[k, called] == 0:
            break
        if k not in assigned and called not in assigned.values():
            assigned[k] = called
    moved = [f"{k} is {called}" for k, called in sorted(assigned.items()) if k != called]
    if moved:
        shown = ", ".join(moved[:SHOWN]) + (", ..." if len(moved) > SHOWN else "")
        by_model = torch.tensor([assigned.get(k, -1) for k in range(classes)])
        yield (
            f"the classes are assigned otherwise ({shown})",
            f"correct the labels, or {NAMES_FIRST}",
            ~read,
            predicted[~read] == by_model[labels[~read]],
        )
