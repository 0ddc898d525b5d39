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
from ..samples.folds import MIN_SAMPLES
from ..samples.samples import Samples, iterate
from ..samples.subset import Subset
from .activation_clustering import COMPONENTS
from .arrays import Matrix
from .class_groups import find_class_groups
from .last_layer import read_last_layer
from .methods import PoolMethod, scoring
from .split import Split

MAX_CLEAN = 0.15
"""Share of a group of triggered samples that may be samples which are known to be clean; and share
of those that may lie in it. This is what tells: of images that the benchmark does not measure on,
groups that are triggered stay below it on both counts, and groups that are cut out of clean samples
alone, even of those that look most triggered, exceed it on both."""

MAX_OVERLAP, MIN_GAIN = 0.05, 0.1
"""As in `pool.split`, which asks for more: of a pool no sample is known to be clean."""

MIN_CLEAN = 10
"""Of fewer samples that are known to be clean, nobody knows which group they belong to."""

SEEDS = 2**32
"""What scikit-learn takes as a seed is less."""


@dataclass(frozen=True)
class Cleaned:
    """A quarantine, of which some samples are kept.

    Attributes:
        samples: N different ones; of equal samples, the first.
        split: of these; flagged are those that are kept, targets the classes of which some are.
        repeated: how many samples of the quarantine equal one of these.
        refused: why nothing was kept of a target, by target; `split` does not name these.
    """

    samples: Samples
    split: Split
    repeated: int
    refused: Mapping[int, str]

    @property
    def kept(self) -> list[int]:
        """The indices of those that are kept."""
        indices: list[int] = self.split.flagged.nonzero().flatten().tolist()
        return indices

    def describe(self) -> list[str]:
        """Return what was kept, and why the others were not, for a person."""
        targets = self.split.targets
        others = int((~torch.isin(self.split.predicted, torch.tensor(targets))).sum())
        alike = len(self.samples) - len(self.kept) - others
        classes = class_list(targets)
        return [
            f"quarantine: {len(self.samples) + self.repeated} samples",
            f"  kept: {len(self.kept)} that are predicted as {classes} and lie together, apart "
            "from clean ones",
            f"  left out: {alike} that lie with clean ones of {classes}, {others} that are "
            f"predicted as another class, {self.repeated} that are equal to another",
            *(
                f"  class {target}, whose repair stays as it was: {why}"
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
) -> Cleaned:
    """Keep the samples of a quarantine that show the trigger of the bundle that flagged them.

    A bundle that is wrong on one clean sample in a hundred fills half of its quarantine with such
    where one request in a hundred is triggered. Only samples that are predicted as its target can
    be its trigger's. These are put beside the clean samples predicted as the target, and scored as
    those of a mixed pool are (`pool.class_groups`). Where they are two groups that lie
    apart, and one of them holds hardly any of the clean samples, its members are kept. How wide the
    gap is matters less here than in a pool: that the clean samples are all on one side says more.

    It takes one pass over all samples, and less than a second for each target.

    Args:
        model: in evaluation mode, unrepaired.
        quarantine: what the bundle flagged, nobody knows how rightly.
        clean: clean samples, some of them predicted as the targets.
        example: one input, (1, *input shape).
        method: a name in `pool.methods.POOL_METHODS`.
        targets: the classes that the bundle is for.
        components: that Activation Clustering reduces features to.
        layers: names of layers in the order in which they run, the last of which is looked at where
            no linear layer gives the logits; None to find them.
        seed: of the random numbers.

    Raises:
        NoTriggerError: of every target there are too few samples, or they do not hold together.
        SamplesError: samples of the quarantine and clean ones differ in shape, or those of the
            quarantine lie in several folders, as those of several models do.
        CalibrationError: too few of the clean samples are predicted as a target, and nothing is
            kept of another one; the model fails on the samples, or no layers are found.
        AttachError: it has no such layer.
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
            read_last_layer(model, each, example, last, progress) for each in (samples, clean)
        )
    scores = torch.zeros(len(samples), dtype=torch.float64)
    kept = torch.zeros(len(samples), dtype=torch.bool)
    refused: dict[int, FireError] = {}
    score = scoring(method, components)
    for target in targets:
        members = read.predicted == target
        beside = known.features[known.predicted == target]
        try:
            _refuse_few(int(members.sum()), "are predicted as", target, samples)
            _refuse_few_clean(len(beside), target, clean, samples)
            found = _split_class(read.features[members], beside, score, seed)
            if found is None:
                raise NoTriggerError(
                    f"{samples.source}: the samples predicted as class {target} do not lie "
                    "together, apart from clean ones: they show no trigger"
                )
            _refuse_few(int(found[1].sum()), "lie apart from clean ones of", target, samples)
        except (NoTriggerError, CalibrationError) as error:
            refused[target] = error
            continue
        scores[members], kept[members] = found
    left = tuple(target for target in targets if target not in refused)
    if not left:
        raise refused[targets[0]]
    return Cleaned(
        samples,
        Split(read.predicted, scores, kept, left),
        len(quarantine) - len(samples),
        {target: str(error) for target, error in refused.items()},
    )


def _split_class(
    features: Tensor, known: Tensor, score: PoolMethod, seed: int
) -> tuple[Tensor, Tensor] | None:
    """Score the samples of a predicted class, and find those that lie apart from clean ones.

    Args:
        features: of the quarantine's samples, (n, D).
        known: of clean ones, (m, D).
        score: the method.
        seed: of the random numbers.

    Returns:
        The scores, (n,) float64, high for the second, (n,) bool; or None where none lie apart.
    """
    features, clean = features.double(), known.double()
    both: Matrix = torch.cat([features, clean]).numpy()
    groups = find_class_groups(both, clean.numpy(), score, seed % SEEDS)
    apart = groups.apart(MAX_OVERLAP, MIN_GAIN)
    if apart is None:
        return None
    scores, upper = torch.from_numpy(groups.scores), torch.from_numpy(apart)
    ours, theirs = upper[: len(features)], upper[len(features) :]
    # Where most of the clean samples lie, no trigger is.
    group = ~upper if bool(theirs.float().mean() > 0.5) else upper
    astray = group[len(ours) :].sum()
    if float(astray / len(theirs)) > MAX_CLEAN or float(astray / group.sum()) > MAX_CLEAN:
        return None
    turned = scores if scores[group].mean() > scores[~group].mean() else -scores
    return turned[: len(ours)], group[: len(ours)]


def _first_of_equal(samples: Samples) -> list[int]:
    """Return the indices of samples that differ: what is sent again is no new evidence."""
    first: dict[bytes, int] = {}
    for indices, batch in iterate(samples, range(len(samples))):
        for i, sample in zip(indices, batch, strict=True):
            first.setdefault(hashlib.sha256(sample.numpy().tobytes()).digest(), i)
    return list(first.values())


def _refuse_few(count: int, how: str, target: int, samples: Samples) -> None:
    if count < MIN_SAMPLES:
        raise NoTriggerError(
            f"{samples.source}: {count} of {len(samples)} different samples {how} class "
            f"{target}, expected at least {MIN_SAMPLES} to build from"
        )


def _refuse_few_clean(count: int, target: int, clean: Samples, samples: Samples) -> None:
    if count < MIN_CLEAN:
        raise CalibrationError(
            f"{clean.source}: {count} of {len(clean)} clean samples are predicted as class "
            f"{target}, expected at least {MIN_CLEAN} to tell which samples of {samples.source} "
            "lie apart from them"
        )
