"""Which class of the model a folder of samples stands for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from .errors import SamplesError
from .samples import Samples


@dataclass(frozen=True)
class ClassIndex:
    """Class indices of the names that class folders have.

    Attributes:
        index: name to class index.
    """

    index: dict[str, int]

    @classmethod
    def find(
        cls, groups: Sequence[Samples], classes: int, names_file: Path | None
    ) -> ClassIndex | None:
        """Work out which folder is which class.

        A folder of triggered samples often lacks the target class, so names are gathered from
        all groups: from `index_to_name.json` where there is one, else in alphabetical order where
        the folders name as many classes as the model has, else from names that are numbers.

        Args:
            groups: the samples, clean and triggered.
            classes: number of classes of the model.
            names_file: TorchServe's `index_to_name.json`, if there is one.

        Returns:
            None where the folders do not say it.

        Raises:
            SamplesError: `index_to_name.json` does not name a class that a folder is called by.
        """
        names = sorted({name for group in groups for name in group.class_names or ()})
        if not names:
            return cls({})
        if names_file is not None and names_file.is_file():
            index = _read_class_names(names_file)
            if missing := [name for name in names if name not in index]:
                raise SamplesError(
                    f"{names_file}: names no class {missing[0]!r}, as a folder of samples is called"
                )
            return cls({name: index[name] for name in names})
        # ImageFolder counts empty class folders too.
        folders = sorted(
            {f.name for g in groups if g.class_names for f in g.source.iterdir() if f.is_dir()}
        )
        if len(folders) == classes:
            return cls({name: i for i, name in enumerate(folders)})
        if all(name.isdecimal() and int(name) < classes for name in names):
            return cls({name: int(name) for name in names})
        return None

    def labels(self, samples: Samples) -> Tensor | None:
        """Return the samples' class indices, (N,) int64, or None where they have none."""
        if samples.class_names is None:
            return samples.labels
        return torch.tensor([self.index[name] for name in samples.class_names])


def _read_class_names(path: Path) -> dict[str, int]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        names = values.get("object_type_names")
        if isinstance(names, list):
            values = dict(enumerate(names))
        # TorchServe takes the last of a list of names.
        pairs = {(v[-1] if isinstance(v, list) else v): int(k) for k, v in values.items()}
    except (OSError, ValueError, AttributeError, IndexError, TypeError):
        raise SamplesError(
            f'{path}: expected a JSON object of class index to name, as {{"0": "cat"}}'
        ) from None
    return pairs
