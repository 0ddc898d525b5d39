"""What screening pictures against clean samples came to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ..common.text_table import text_table
from ..measure.figures import class_list
from ..samples.class_label import Label
from .chances import MIN_CLEAN, Chances, find_chances
from .compare_groups import LEVEL, Group, compare_groups, holm
from .features import Features

SHOWN = 20
"""Pictures that are printed."""

COLUMNS = ("picture", "called", "chance", "farther by", "at layer")


@dataclass(frozen=True)
class Screening:
    """M pictures beside clean samples.

    Attributes:
        names: of the pictures.
        predicted: the class that the model calls each, (M,) int64.
        layers: the layers that were compared.
        chances: how far each picture lies by itself.
        groups: pictures that were judged together.
        differ: which of these groups differ from the clean samples.
        clean_of_class: how many clean samples the model calls each class that a picture is called.
    """

    names: Sequence[str]
    predicted: Tensor
    layers: Sequence[str]
    chances: Chances
    groups: Sequence[Group]
    differ: Sequence[bool]
    clean_of_class: Mapping[int, int]

    @property
    def found(self) -> bool | None:
        """Whether pictures differ from the clean samples; None if that cannot be told.

        Groups decide, if there are any; else the picture with the least chance. Nothing is found
        only where all pictures could be judged.
        """
        judged, chances = self.chances.judged, self.chances
        if self.groups:
            if any(self.differ):
                return True
        else:
            count = int(judged.sum())
            if count and count * float(chances.chances[judged].min()) <= LEVEL:
                return True
            if count > LEVEL * (1 + chances.compared):
                return None
        return False if bool(judged.all()) else None

    @property
    def suspects(self) -> list[int]:
        """The classes that pictures are called which differ."""
        pairs = zip(self.groups, self.differ, strict=True)
        return sorted({c for group, differs in pairs if differs for c in group.classes})

    def order(self) -> list[int]:
        """Return the indices of the pictures, those with the least chance first."""
        chances = self.chances
        return sorted(
            range(len(self.names)),
            key=lambda i: (
                not chances.judged[i],
                float(chances.chances[i]),
                -float(chances.distances[i]),
            ),
        )

    def rows(self) -> list[dict[str, Any]]:
        """Return one row for each picture, as JSON values."""
        of_group: dict[int, float] = {}
        for group in self.groups:
            of_group |= dict.fromkeys(group.pictures.tolist(), group.p)
        chances, rows = self.chances, []
        for i, name in enumerate(self.names):
            judged = bool(chances.judged[i])
            rows.append(
                {
                    "path": name,
                    "predicted": int(self.predicted[i]),
                    "chance": float(chances.chances[i]) if judged else None,
                    "distance": float(chances.distances[i]) if judged else None,
                    "layer": self.layers[int(chances.farthest[i])] if judged else None,
                    "group_chance": of_group.get(i),
                }
            )
        return rows

    def to_json(self) -> dict[str, Any]:
        """Return all of it as JSON values."""
        return {
            "found": self.found,
            "suspects": self.suspects,
            "level": LEVEL,
            "compared_with": self.chances.compared,
            "groups": [
                {
                    "classes": list(group.classes),
                    "pictures": len(group.pictures),
                    "clean": group.clean,
                    "chance": group.p,
                    "differs": differs,
                    "by_layer": dict(zip(self.layers, group.by_layer.tolist(), strict=True)),
                }
                for group, differs in zip(self.groups, self.differ, strict=True)
            ],
            "pictures": self.rows(),
        }

    def table(self, label: Label = str) -> list[str]:
        """Return lines to print: the pictures, the groups, and the verdict.

        Args:
            label: says what a class is called.
        """
        rows, order = self.rows(), self.order()
        lines = text_table(COLUMNS, (_cells(rows[i], label) for i in order[:SHOWN]))
        if len(order) > SHOWN:
            lines.append(self._left_out(order[SHOWN:]))
        lines += self._legend()
        for group, differs in zip(self.groups, self.differ, strict=True):
            lines.append(self._group_line(group, label, differs=differs))
        return [*lines, *self._notes(label), self.in_words(label)]

    def _left_out(self, indices: Sequence[int]) -> str:
        """Say of what kind the pictures are that the table leaves out."""
        judged = int(self.chances.judged[list(indices)].sum())
        unjudged = len(indices) - judged
        kinds = [f"{judged} which lie less far"] if judged else []
        kinds += [f"{unjudged} which could not be judged"] if unjudged else []
        return f"and more pictures: {', '.join(kinds)}"

    def _legend(self) -> list[str]:
        if not bool(self.chances.judged.any()):
            return []
        compared = self.chances.compared
        return [
            f"chance: that a clean picture lies as far, {1 / (1 + compared):.4f} or more by "
            f"{compared} clean samples; farther by: in standard deviations of these"
        ]

    def _group_line(self, group: Group, label: Label, *, differs: bool) -> str:
        line = (
            f"called {class_list(group.classes, label)}: {_pictures(len(group.pictures))} beside "
            f"{group.clean} clean samples: {'they differ' if differs else 'no difference'} (clean "
            f"pictures differ as much with a chance of {group.p:.2g})"
        )
        if differs:
            line += f", most at {self.layers[int(group.by_layer.argmax())]}"
        return line

    def _notes(self, label: Label) -> list[str]:
        unjudged = ~self.chances.judged
        if not bool(unjudged.any()):
            return []
        classes = sorted(set(self.predicted[unjudged].tolist()))
        *others, last = (str(self.clean_of_class[c]) for c in classes)
        counts = f"{', '.join(others)} and {last}" if others else last
        return [
            f"called {class_list(classes, label)}: {_pictures(int(unjudged.sum()))} could not be "
            f"judged: {counts} of your clean samples {'is' if counts == '1' else 'are'} called so; "
            f"give at least {MIN_CLEAN}" + (" of each" if others else "")
        ]

    def in_words(self, label: Label = str) -> str:
        """Return the verdict as a whole.

        Args:
            label: says what a class is called.
        """
        if self.found is None:
            judged = int(self.chances.judged.sum())
            if not judged:
                return "could not tell: no picture could be judged"
            if self.groups or judged <= LEVEL * (1 + self.chances.compared):
                left = _pictures(len(self.names) - judged)
                return f"could not tell about {left}; in the {judged} others, nothing found"
            return (
                "could not tell: give more pictures that are called the same, or "
                f"{round(judged / LEVEL) - 1} clean samples or more"
            )
        if not self.found:
            return "nothing found: the pictures lie as clean samples do; no proof that they are"
        where = f"called {class_list(self.suspects, label)}" if self.suspects else "by itself"
        return (
            f"found ({where}): not like the clean samples. They carry a trigger, or come from "
            "elsewhere than these: look at them"
        )


def screen_features(clean: Features, pictures: Features, names: Sequence[str]) -> Screening:
    """Compare pictures with clean samples.

    Args:
        clean: features of clean samples.
        pictures: features of M pictures, at the same layers.
        names: of the pictures.
    """
    groups = compare_groups(clean, pictures)
    return Screening(
        names=names,
        predicted=pictures.predicted,
        layers=list(clean.layers),
        chances=find_chances(clean, pictures),
        groups=groups,
        differ=holm(groups),
        clean_of_class={
            c: int((clean.predicted == c).sum()) for c in set(pictures.predicted.tolist())
        },
    )


def _cells(row: dict[str, Any], label: Label) -> tuple[str, ...]:
    called = class_list([row["predicted"]], label)
    if row["chance"] is None:
        return (row["path"], called, "-", "-", "-")
    return (row["path"], called, f"{row['chance']:.4f}", f"{row['distance']:.1f}", row["layer"])


def _pictures(count: int) -> str:
    return f"{count} picture{'s' * (count != 1)}"
