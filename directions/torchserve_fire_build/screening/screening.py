"""What screening samples against clean ones came to."""

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
from .feature_file import FeatureFile
from .features import Features

SHOWN = 20
"""Samples that are printed."""

COLUMNS = ("sample", "called", "chance", "farther by", "at layer")


@dataclass(frozen=True)
class Screening:
    """M screened samples beside clean ones.

    Attributes:
        names: of the samples.
        predicted: the class that the model calls each, (M,) int64.
        layers: the layers that were compared.
        chances: how far each sample lies by itself.
        groups: samples that were judged together.
        differ: which of these groups differ from the clean samples.
        clean_of_class: how many clean samples the model calls each class that a sample is called.
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
        """Whether samples differ from the clean samples; None if that cannot be told.

        Groups decide, if there are any; else the sample with the least chance. Nothing is found
        only where all samples could be judged.
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
        """The classes that samples are called which differ."""
        pairs = zip(self.groups, self.differ, strict=True)
        return sorted({c for group, differs in pairs if differs for c in group.classes})

    def order(self) -> list[int]:
        """Return the indices of the samples, those with the least chance first."""
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
        """Return one row for each sample, as JSON values."""
        of_group: dict[int, float] = {}
        for group in self.groups:
            of_group |= dict.fromkeys(group.samples.tolist(), group.p)
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
                    "samples": len(group.samples),
                    "clean": group.clean,
                    "chance": group.p,
                    "differs": differs,
                    "by_layer": dict(zip(self.layers, group.by_layer.tolist(), strict=True)),
                }
                for group, differs in zip(self.groups, self.differ, strict=True)
            ],
            "samples": self.rows(),
        }

    def table(self, label: Label = str) -> list[str]:
        """Return lines to print: the samples, the groups, and the verdict.

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
        """Say of what kind the samples are that the table leaves out."""
        judged = int(self.chances.judged[list(indices)].sum())
        unjudged = len(indices) - judged
        kinds = [f"{judged} which lie less far"] if judged else []
        kinds += [f"{unjudged} which could not be judged"] if unjudged else []
        return f"and more samples: {', '.join(kinds)}"

    def _legend(self) -> list[str]:
        if not bool(self.chances.judged.any()):
            return []
        compared = self.chances.compared
        return [
            f"chance: that a clean one lies as far, {1 / (1 + compared):.4f} or more by "
            f"{compared} clean samples; farther by: in standard deviations of these"
        ]

    def _group_line(self, group: Group, label: Label, *, differs: bool) -> str:
        line = (
            f"called {class_list(group.classes, label)}: {_samples(len(group.samples))} beside "
            f"{group.clean} clean ones: {'they differ' if differs else 'no difference'} (clean "
            f"ones differ as much with a chance of {group.p:.2g})"
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
            f"called {class_list(classes, label)}: {_samples(int(unjudged.sum()))} could not be "
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
                return "could not tell: no sample could be judged"
            if self.groups or judged <= LEVEL * (1 + self.chances.compared):
                left = _samples(len(self.names) - judged)
                return f"could not tell about {left}; in the {judged} others, nothing found"
            return (
                "could not tell: give more samples that are called the same, or "
                f"{round(judged / LEVEL) - 1} clean samples or more"
            )
        if not self.found:
            return "nothing found: the samples lie as clean ones do; no proof that they are"
        where = f"called {class_list(self.suspects, label)}" if self.suspects else "by itself"
        return (
            f"found ({where}): not like the clean samples. They carry a trigger, or come from "
            "elsewhere than these: look at them"
        )


def screen_features(
    clean: Features, samples: Features | FeatureFile, names: Sequence[str]
) -> Screening:
    """Compare samples with clean ones.

    Args:
        clean: features of clean samples.
        samples: features of M samples, at the same layers.
        names: of the samples.
    """
    groups = compare_groups(clean, samples)
    return Screening(
        names=names,
        predicted=samples.predicted,
        layers=list(clean.layers),
        chances=find_chances(clean, samples),
        groups=groups,
        differ=holm(groups),
        clean_of_class={
            c: int((clean.predicted == c).sum()) for c in set(samples.predicted.tolist())
        },
    )


def _cells(row: dict[str, Any], label: Label) -> tuple[str, ...]:
    called = class_list([row["predicted"]], label)
    if row["chance"] is None:
        return (row["path"], called, "-", "-", "-")
    return (row["path"], called, f"{row['chance']:.4f}", f"{row['distance']:.1f}", row["layer"])


def _samples(count: int) -> str:
    return f"{count} sample{'s' * (count != 1)}"
