"""Which class of the model each folder of samples stands for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..common.errors import SamplesError
from .samples import Samples

SHOWN = 3
"""Class names that a message lists."""


@dataclass(frozen=True)
class ClassIndex:
    """The class index that each folder name stands for.

    Attributes:
        index: folder name to class index.
        classes: number of classes of the model.
    """

    index: dict[str, int]
    classes: int

    @classmethod
    def find(
        cls, groups: Sequence[Samples], classes: int, names_file: Path | None
    ) -> ClassIndex | None:
        """Work out which folder is which class.

        A folder of triggered samples often lacks the target class, so folder names are gathered
        from all groups. What they mean is known in one of three ways, tried in this order:
        `index_to_name.json` says so; or there are as many folders as classes, and these are in
        alphabetical order; or the names are the class numbers.

        Args:
            groups: the samples, clean and triggered.
            classes: number of classes of the model.
            names_file: TorchServe's `index_to_name.json`; None for the one that lies beside the
                configuration of the samples, if there is one.

        Returns:
            The index; None if the folder names do not show which classes they are.

        Raises:
            SamplesError: there is no such file, or it does not say which class a folder is.
        """
        names = _folder_names(groups)
        if not names:
            return cls({}, classes)
        if names_file is None:
            names_file = next((g.names_file for g in groups if g.names_file), None)
        if names_file is not None:
            names_file = Path(names_file)
            known = _read_class_names(names_file)
            return cls({name: _only_index(name, known, names_file) for name in names}, classes)
        # ImageFolder counts empty class folders too.
        folders = sorted(
            {
                f.name
                for g in groups
                if g.class_names
                for f in Path(g.source).iterdir()
                if f.is_dir()
            }
        )
        if len(folders) == classes:
            return cls({name: i for i, name in enumerate(folders)}, classes)
        # Without leading zeros, "10" may be class 10, or class 2 as ImageFolder sorts all folders.
        sorted_alike = classes <= 10 or any(len(n) > 1 and n.startswith("0") for n in names)
        if sorted_alike and all(name.isdecimal() and int(name) < classes for name in names):
            return cls({name: int(name) for name in names}, classes)
        return None

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
            raise SamplesError(
                f"{samples.source}: label {wrong[0]}, expected a class of the model, "
                f"0 to {self.classes - 1}"
            )
        return labels


def why_unknown(groups: Sequence[Samples], classes: int) -> str:
    """Return the reason, as text for a message, why `ClassIndex.find` returned None."""
    names = _folder_names(groups)
    shown = ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
    return f"the folders ({shown}) do not say which of the model's {classes} classes they are"


def _folder_names(groups: Sequence[Samples]) -> list[str]:
    return sorted({name for group in groups for name in group.class_names or ()})


def _only_index(name: str, known: dict[str, list[int]], names_file: Path) -> int:
    indices = known.get(name, [])
    if len(indices) != 1:
        found = " and ".join(map(str, indices[:2])) or "no class"
        raise SamplesError(
            f"{names_file}: a folder of samples is called {name!r}, which is the name of {found}; "
            f"expected one of the file's names ({', '.join(list(known)[:SHOWN])}, ...): rename "
            "the folder, or remove the file"
        )
    return indices[0]


def _read_class_names(path: Path) -> dict[str, list[int]]:
    indices: dict[str, list[int]] = {}
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        names = values.get("object_type_names")
        if isinstance(names, list):
            values = dict(enumerate(names))
        for index, entry in values.items():
            # An entry may be a list, as of ImageNet's synset and name: folders may use any of it.
            entries = entry if isinstance(entry, list) and entry else [entry]
            if not all(isinstance(name, str) for name in entries):
                raise TypeError
            for name in dict.fromkeys(entries):
                indices.setdefault(name, []).append(int(index))
    except FileNotFoundError:
        raise SamplesError(f"{path}: no such file, expected the names of the classes") from None
    except (OSError, ValueError, AttributeError, TypeError):
        raise SamplesError(
            f'{path}: expected a JSON object of class index to name, such as {{"0": "cat"}}'
        ) from None
    return indices
