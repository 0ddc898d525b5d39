"""Cleaning a quarantine: which of the samples that a bundle flagged show its trigger."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from torchserve_fire.errors import FireError

from ..common.errors import CalibrationError, NoTriggerError, SamplesError
from ..common.progress import Progress
from ..estimate.candidate_layers import candidate_layers
from ..measure.figures import class_list
from ..samples.class_label import Label
from ..samples.samples import Samples, iterate
from ..samples.subset import Subset
from .activation_clustering import COMPONENTS
from .arrays import Matrix
from .class_groups import find_class_groups
from .last_layer import read_last_layer
from .methods import PoolMethod, scoring
from .split import Split

MAX_CLEAN = 0.15
"""A bound on two shares: the share of a triggered group that is known to be clean, and the share of
the known clean samples that lie in this group. These shares decide. On images that the benchmark
does not measure on, groups of triggered samples stay below the bound in both. Groups of clean
samples alone, even of those that look most triggered, exceed it in both."""

MAX_OVERLAP, MIN_GAIN = 0.05, 0.1
"""As in `pool.split`, which is stricter: no sample of a pool is known to be clean."""

MIN_TRIGGERED = 8
"""The fewest flagged samples to build from. Nobody said that they are triggered, so of fewer a
group that lies apart is more easily one by chance."""

MIN_CLEAN = 10
"""The fewest known clean samples of a class that show which group clean samples belong to."""

SEEDS = 2**32
"""scikit-learn takes seeds below this."""


@dataclass(frozen=True)
class Cleaned:
    """A quarantine, and which of its samples are kept.

    Attributes:
        samples: the N different samples of the quarantine; of equal ones, the first.
        split: split of these samples. Its flagged samples are those that are kept; its targets are
            the classes that have kept samples.
        repeated: number of other samples, each of which equals one of these.
        refused: for each other target, why no sample of it was kept.
    """

    samples: Samples
    split: Split
    repeated: int
    refused: Mapping[int, str]

    @property
    def kept(self) -> list[int]:
        """The indices of the kept samples."""
        indices: list[int] = self.split.flagged.nonzero().flatten().tolist()
        return indices

    def describe(self, label: Label = str) -> list[str]:
        """Return lines that say what was kept, and why other samples were not.

        Args:
            label: says what a class is called.
        """
        targets = self.split.targets
        other_classes = int((~torch.isin(self.split.predicted, torch.tensor(targets))).sum())
        like_clean = len(self.samples) - len(self.kept) - other_classes
        classes = class_list(targets, label)
        return [
            f"quarantine: {len(self.samples) + self.repeated} samples",
            f"  kept: {len(self.kept)} that are predicted as {classes} and lie together, apart "
            "from clean ones",
            f"  left out: {like_clean} that lie with clean ones of {classes}, {other_classes} that "
            f"are predicted as another class, {self.repeated} that are equal to another",
            *(
                f"  class {label(target)}, whose repair stays as it was: {why}"
                for target, why in self.refused.items()
            ),
        ]


def clean_quarantine(
    model: nn.Module,
    quarantine: Samples,
    clean: Samples,
    example: Tensor,
    method: str,
    *,
    targets: Sequence[int],
    components: int = COMPONENTS,
    layers: Sequence[str] | None = None,
    seed: int,
    label: Label = str,
) -> Cleaned:
    """Keep the samples of a quarantine that show the trigger of the bundle that flagged them.

    Suppose a bundle wrongly flags one clean sample in a hundred, and one request in a hundred is
    triggered: then half of its quarantine is clean. Only samples that are predicted as the target
    can carry its trigger. They are put together with the clean samples that are predicted as the
    target, and scored like those of a mixed pool (`pool.class_groups`). If they form two groups
    that lie apart, and one group holds hardly any of the clean samples, the members of this group
    are kept. The width of the gap matters less than in a pool: it says more that all clean samples
    are on one side.

    It takes one pass over all samples, and less than a second for each target.

    Args:
        model: in evaluation mode, unrepaired.
        quarantine: the samples that the bundle flagged, rightly or not.
        clean: clean samples, some of them predicted as the targets.
        example: one input, (1, *input shape).
        method: a name in `pool.methods.POOL_METHODS`.
        targets: the classes that the bundle is for.
        components: number of components that Activation Clustering reduces features to.
        layers: names of layers in the order in which they run; the last one is read if no linear
            layer returns the logits. None to find them.
        seed: of the random numbers.
        label: says what a class is called.

    Raises:
        NoTriggerError: for every target, there are too few samples, or they form no group.
        SamplesError: quarantined and clean samples differ in shape, or the quarantined samples lie
            in several folders, as those of several models do.
        CalibrationError: too few clean samples are predicted as a target, and no samples of another
            target are kept; or the model fails on the samples; or no layers are found.
        AttachError: the model has no such layer.
    """
    shapes = [tuple(samples.load([0]).shape[1:]) for samples in (quarantine, clean)]
    if shapes[0] != shapes[1]:
        raise SamplesError(
            f"{quarantine.source}: inputs of shape {shapes[0]}, expected {shapes[1]} as in "
            f"{clean.source}"
        )
    if len(folders := sorted(set(quarantine.class_names or ()))) > 1:
        raise SamplesError(
            f"{quarantine.source}: holds the folders {folders[0]} and {folders[1]}, expected the "
            "quarantine of one model, its samples side by side in one folder"
        )
    samples = Subset(quarantine, _first_of_equal(quarantine))
    last = (candidate_layers(model, example) if layers is None else layers)[-1]
    with Progress("reading the quarantine", len(samples) + len(clean)) as progress:
        read, known = (
            read_last_layer(model, group, example, last, progress) for group in (samples, clean)
        )
    scores = torch.zeros(len(samples), dtype=torch.float64)
    kept = torch.zeros(len(samples), dtype=torch.bool)
    refused: dict[int, FireError] = {}
    score = scoring(method, components)
    for target in targets:
        members = read.predicted == target
        beside = known.features[known.predicted == target]
        try:
            _refuse_few(int(members.sum()), "are predicted as", label(target), samples)
            _refuse_few_clean(len(beside), label(target), clean, samples)
            found = _split_class(read.features[members], beside, score, seed)
            if found is None:
                raise NoTriggerError(
                    f"{samples.source}: the samples predicted as class {label(target)} do not lie "
                    "together, apart from clean ones: they show no trigger"
                )
            _refuse_few(int(found[1].sum()), "lie apart from clean ones of", label(target), samples)
        except (NoTriggerError, CalibrationError) as error:
            refused[target] = error
            continue
        scores[members], kept[members] = found
    accepted = tuple(target for target in targets if target not in refused)
    if not accepted:
        raise refused[targets[0]]
    return Cleaned(
        samples,
        Split(read.predicted, scores, kept, accepted),
        len(quarantine) - len(samples),
        {target: str(error) for target, error in refused.items()},
    )


def _split_class(
    features: Tensor, known: Tensor, score: PoolMethod, seed: int
) -> tuple[Tensor, Tensor] | None:
    """Score the samples of a predicted class, and find those that lie apart from clean ones.

    Args:
        features: features of the quarantine's samples, (n, D).
        known: features of clean samples, (m, D).
        score: the method.
        seed: of the random numbers.

    Returns:
        The scores, (n,) float64, and which samples lie apart, (n,) bool; these have high scores.
        None if no samples lie apart.
    """
    features, clean = features.double(), known.double()
    both: Matrix = torch.cat([features, clean]).numpy()
    groups = find_class_groups(both, clean.numpy(), score, seed % SEEDS)
    apart = groups.apart(MAX_OVERLAP, MIN_GAIN)
    if apart is None:
        return None
    scores, upper = torch.from_numpy(groups.scores), torch.from_numpy(apart)
    flagged, known_clean = slice(len(features)), slice(len(features), None)
    # The group with most of the clean samples is not the triggered one.
    triggered = ~upper if bool(upper[known_clean].float().mean() > 0.5) else upper
    astray = triggered[known_clean].sum()
    if float(astray / len(known)) > MAX_CLEAN or float(astray / triggered.sum()) > MAX_CLEAN:
        return None
    turned = scores if scores[triggered].mean() > scores[~triggered].mean() else -scores
    return turned[flagged], triggered[flagged]


def _first_of_equal(samples: Samples) -> list[int]:
    """Return the indices of samples that differ: a sample that is sent again is no new evidence."""
    first: dict[bytes, int] = {}
    for indices, batch in iterate(samples, range(len(samples))):
        for i, sample in zip(indices, batch, strict=True):
            first.setdefault(hashlib.sha256(sample.numpy().tobytes()).digest(), i)
    return list(first.values())


def _refuse_few(count: int, how: str, target: str, samples: Samples) -> None:
    if count < MIN_TRIGGERED:
        raise NoTriggerError(
            f"{samples.source}: {count} of {len(samples)} different samples {how} class "
            f"{target}, expected at least {MIN_TRIGGERED} to build from"
        )


def _refuse_few_clean(count: int, target: str, clean: Samples, samples: Samples) -> None:
    if count < MIN_CLEAN:
        raise CalibrationError(
            f"{clean.source}: {count} of {len(clean)} clean samples are predicted as class "
            f"{target}, expected at least {MIN_CLEAN} to see which samples of {samples.source} "
            "lie apart from them"
        )
