"""Which class of the model each folder of samples stands for."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from torchserve_fire.errors import ConfigError
from torchserve_fire.model.class_names import read_class_names

from ..common.errors import SamplesError, did_you_mean
from .fitting_batches import fitting_batches
from .predict import logits_of
from .sample_files import class_folders
from .samples import Samples

logger = logging.getLogger(__name__)

SHOWN = 3
"""Class names that a message lists."""

TRIED = 200
"""Samples on which the model says in which order it counts folders that are numbers."""


@dataclass(frozen=True)
class ClassIndex:
    """The class index that each folder name stands for.

    Attributes:
        index: folder name to class index.
        classes: number of classes of the model.
        as_text: the same for folders that are numbers, if they are sorted as texts, as
            torchvision's ImageFolder does: 0, 1, 10, 2. Empty if that makes no difference.
    """

    index: dict[str, int]
    classes: int
    as_text: dict[str, int]

    @classmethod
    def find(
        cls, groups: Sequence[Samples], classes: int, names_file: Path | None
    ) -> ClassIndex | None:
        """Work out which folder is which class.

        A folder of triggered samples often lacks the target class, so folder names are gathered
        from all groups. What they mean is known in one of three ways, tried in this order:
        `index_to_name.json` says so; or there are as many folders as classes, and these are in
        alphabetical order, numbers in numeric order; or the names are the class numbers.

        Args:
            groups: the samples, clean and triggered.
            classes: number of classes of the model.
            names_file: TorchServe's `index_to_name.json`; None for the one that lies beside the
                configuration of the samples, if there is one.

        Returns:
            The index; None if the folder names do not show which classes they are.

        Raises:
            SamplesError: there is no such file, it does not name every class of the model once, or
                it does not say which class a folder is.
        """
        if names_file is None:
            names_file = next((g.names_file for g in groups if g.names_file), None)
        known = None if names_file is None else _read_names(Path(names_file), classes)
        names = _folder_names(groups)
        if not names:
            return cls({}, classes, {})
        if known is not None:
            return cls(
                {x: _only_index(x, known, Path(str(names_file))) for x in names}, classes, {}
            )
        # ImageFolder counts empty class folders too.
        folders = sorted(
            {*names}.union(*(class_folders(Path(g.source)) for g in groups if _has_folders(g)))
        )
        numbers = all(name.isascii() and name.isdecimal() for name in folders)
        if len(folders) == classes:
            alphabetical = {name: i for i, name in enumerate(folders)}
            if not numbers:
                return cls(alphabetical, classes, {})
            numeric = {name: i for i, name in enumerate(sorted(folders, key=int))}
            return cls(numeric, classes, {} if alphabetical == numeric else alphabetical)
        if numbers and all(int(name) < classes for name in names):
            own = {name: int(name) for name in names}
            # With leading zeros, both orders are the same.
            if any(len(name) > 1 and name.startswith("0") for name in names):
                return cls(own, classes, {})
            sorted_as_text = {x: i for i, x in enumerate(sorted(map(str, range(classes))))}
            alphabetical = {name: sorted_as_text[name] for name in names}
            return cls(own, classes, {} if alphabetical == own else alphabetical)
        return None

    def as_model_counts(self, model: nn.Module, groups: Sequence[Samples]) -> ClassIndex:
        """Return the order of folders that are numbers with which the model agrees more often.

        What was found is logged in a line. Without samples in such folders, nothing is done.

        Args:
            model: in evaluation mode.
            groups: the samples; the model predicts some of the first group that has such folders.

        Raises:
            CalibrationError: the model fails.
        """
        group = next((g for g in groups if g.class_names is not None), None)
        if not self.as_text or group is None:
            return self
        count = min(TRIED, len(group))
        rows = [i * len(group) // count for i in range(count)]
        batches = fitting_batches(model, rows, lambda part: logits_of(model, group.load(part)))
        predicted = torch.cat([logits.argmax(1) for _, logits in batches])
        names = [(group.class_names or ())[i] for i in rows]
        other = replace(self, index=self.as_text)
        numeric, text = (
            float((predicted == torch.tensor([x.index[name] for name in names])).double().mean())
            for x in (self, other)
        )
        logger.info(
            "%s: the folders are numbers, taken %s: the model is right on %.0f%%, and on %.0f%% if "
            "they are taken %s",
            group.source,
            *(
                ("in numeric order", 100 * numeric, 100 * text, "sorted as text (0, 1, 10, 2)")
                if numeric >= text
                else ("sorted as text (0, 1, 10, 2)", 100 * text, 100 * numeric, "in numeric order")
            ),
        )
        return self if numeric >= text else other

    def labels(self, samples: Samples) -> Tensor | None:
        """Return the samples' class indices, (N,) int64, or None if the samples have no labels.

        Raises:
            SamplesError: a label is not a class of the model.
        """
        if samples.class_names is None:
            labels = samples.labels
        else:
            labels = torch.tensor([self.index[name] for name in samples.class_names])
        if labels is None:
            return None
        wrong = labels[(labels < 0) | (labels >= self.classes)].tolist()
        if wrong:
            from_one = int(labels.min()) == 1 and int(labels.max()) == self.classes
            raise SamplesError(
                f"{samples.source}: label {wrong[0]}, expected a class of the model, "
                f"0 to {self.classes - 1}{': number the classes from 0, not 1' if from_one else ''}"
            )
        return labels


def class_called(
    name: str, groups: Sequence[Samples], classes: int, names_file: Path | None
) -> int:
    """Return the index of the class of a name.

    Args:
        name: in the names file or, without one, of a folder of samples.
        groups: the samples.
        classes: number of classes of the model.
        names_file: as of `ClassIndex.find`.

    Raises:
        SamplesError: no class is called so, or several are; or there are no names.
    """
    if names_file is None:
        names_file = next((g.names_file for g in groups if g.names_file), None)
    if names_file is not None:
        known = _read_names(Path(names_file), classes)
    else:
        found = ClassIndex.find(groups, classes, None)
        known = {} if found is None else {key: [i] for key, i in found.index.items()}
    if not known:
        raise SamplesError(
            f"class {name!r}: expected an index, 0 to {classes - 1}: nothing says what the classes "
            "are called, neither an index_to_name.json nor folders of samples"
        )
    if len(known.get(name, ())) != 1:
        also = " and ".join(map(str, known.get(name, [])[:2]))
        raise SamplesError(
            f"class {name!r}: {f'the name of {also}' if also else 'no class is called so'}, "
            f"expected an index, 0 to {classes - 1}, or one of the names "
            f"({', '.join(list(known)[:SHOWN])}{', ...' if len(known) > SHOWN else ''})"
            f"{did_you_mean(name, known)}"
        )
    return known[name][0]


def why_unknown(groups: Sequence[Samples], classes: int) -> str:
    """Return the reason, as text for a message, why `ClassIndex.find` returned None."""
    names = _folder_names(groups)
    shown = ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
    return f"the folders ({shown}) do not say which of the model's {classes} classes they are"


def _folder_names(groups: Sequence[Samples]) -> list[str]:
    return sorted({name for group in groups for name in group.class_names or ()})


def _has_folders(group: Samples) -> bool:
    return group.class_names is not None and Path(group.source).is_dir()


def _only_index(name: str, known: dict[str, list[int]], names_file: Path) -> int:
    indices = known.get(name, [])
    if len(indices) != 1:
        found = " and ".join(map(str, indices[:2])) or "no class"
        raise SamplesError(
            f"{names_file}: a folder of samples is called {name!r}, which is the name of {found}; "
            f"expected one of the file's names ({', '.join(list(known)[:SHOWN])}, ...)"
            f"{did_you_mean(name, known)}: rename the folder, or remove the file"
        )
    return indices[0]


def _read_names(names_file: Path, classes: int) -> dict[str, list[int]]:
    """Return the classes that each name of the file is a name of."""
    indices: dict[str, list[int]] = {}
    try:
        # A class may have several names, as ImageNet's synset and name: folders may use any of it.
        for i, names in enumerate(read_class_names(names_file, classes)):
            for name in dict.fromkeys(names):
                indices.setdefault(name, []).append(i)
    except ConfigError as error:
        raise SamplesError(str(error)) from None
    return indices
