"""Splitting a mixed pool: which of its samples are triggered, and with which target."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..common.errors import CalibrationError, NoTriggerError
from ..common.progress import Progress
from ..common.workers import ThisProcess, Workers
from ..estimate.candidate_layers import candidate_layers
from ..estimate.layers_by_length import layers_of_fixed_shape
from ..measure.figures import class_list
from ..measure.target import MAX_TARGETS
from ..samples.class_label import Label
from ..samples.samples import Samples
from .activation_clustering import COMPONENTS
from .class_groups import LEAST
from .groups_of_classes import Scoring, find_groups_of_classes
from .last_layer import LastLayer, read_last_layer
from .moved_back import SeeOtherClasses
from .triggered_side import Triggered, TriggeredSide

logger = logging.getLogger(__name__)

MAX_OVERLAP = 0.025
"""Share of a class's samples that may lie on the wrong side of the gap."""

MIN_GAIN = 0.25
"""The least gain in the Bayesian information criterion, for each sample. On development images of
the benchmark's victims, classes with triggered samples reach .4 and more with nearly every method;
hardly any other class has both this gain and so little overlap."""

FEW = 30
"""A group of fewer samples is now and then found by chance alone."""


ReadPool = Callable[[str, Progress], LastLayer]
"""Reads the last layer on all samples of a pool: takes the name of the layer to read if no linear
one returns the logits, and what is advanced by the number of samples."""


@dataclass(frozen=True)
class Split:
    """What was found in a pool of N samples.

    Attributes:
        predicted: the class that the model predicts for each sample, (N,) int64.
        scores: the method's score of each sample, (N,) float64; scores of different classes cannot
            be compared. In a class with triggered samples, these have the higher scores.
        flagged: which samples are triggered, (N,) bool.
        targets: the classes that triggers lead to.
        logits: what the model returns for each sample, (N, classes) float32; None if unknown.
    """

    predicted: Tensor
    scores: Tensor
    flagged: Tensor
    targets: tuple[int, ...]
    logits: Tensor | None = None

    @property
    def all_to_all(self) -> bool:
        """Whether so many classes have triggered samples that it is an all-to-all attack."""
        return len(self.targets) > MAX_TARGETS


def split_pool(
    model: nn.Module,
    pool: Samples,
    example: Tensor,
    method: str,
    *,
    components: int = COMPONENTS,
    layers: Sequence[str] | None = None,
    clean: Samples | None = None,
    generator: torch.Generator,
    read_pool: ReadPool | None = None,
    workers: Workers | None = None,
    see: SeeOtherClasses | None = None,
    label: Label = str,
) -> Split:
    """Find the triggered samples of a pool.

    The method scores the samples of each predicted class. If these form two groups that lie apart
    (`class_groups`), the triggered group is found by moving the features of each group to those of
    other samples: the model then predicts other classes for the triggered group (`triggered_side`).
    The sizes of the groups do not matter: in a pool with a tenth triggered, the target may be
    predicted as often because of the trigger as because of the content.

    It takes two passes over the pool and, for each class with two groups, some hundred samples at
    each candidate layer.

    Args:
        model: in evaluation mode.
        pool: N samples.
        example: one input, (1, *input shape).
        method: a name in `pool.methods.POOL_METHODS`.
        components: number of components that Activation Clustering reduces features to.
        layers: names of the layers to look at, in the order in which they run; None to find them.
        clean: samples that are known to be clean, for the methods that compare with these.
        generator: source of the random numbers.
        read_pool: reads the last layer on the pool; None to do so here.
        workers: compare the groups of each class; None to do so here.
        see: runs the model on groups that are moved; None to do so here.
        label: says what a class is called.

    Raises:
        NoTriggerError: no sample is triggered.
        CalibrationError: the samples are rows of a table, every class has too few of them, the
            model fails on them, or no layers are found.
        AttachError: the model has no such layer.
    """
    if pool.description.table is not None:
        # Rows that lie far out make a group of their own in benign models, too.
        raise CalibrationError(
            f"{pool.source}: expected pictures, tensors or texts: in a pool of a table's rows, "
            "clean ones that lie far out look like triggered ones. Give the rows that the model "
            "gets wrong as --triggered, or have a trigger searched: --clean with --reconstruct all"
        )
    layers = candidate_layers(model, example) if layers is None else layers
    layers = layers_of_fixed_shape(model, layers, pool)
    with Progress("reading the pool", len(pool) + (0 if clean is None else len(clean))) as progress:
        if read_pool is None:
            read = read_last_layer(model, pool, example, layers[-1], progress)
        else:
            read = read_pool(layers[-1], progress)
        known = (
            None if clean is None else read_last_layer(model, clean, example, layers[-1], progress)
        )
    most = int(read.predicted.bincount().max())
    if most < LEAST:
        raise CalibrationError(
            f"{pool.source}: at most {most} of {len(pool)} samples are predicted as the same "
            f"class, expected at least {LEAST} to see whether they are two groups"
        )
    seed = int(torch.randint(2**31, (), generator=generator))
    groups = find_groups_of_classes(
        read, known, Scoring(method, components, seed), workers or ThisProcess()
    )
    predicted = read.predicted
    found_apart = {c: found.apart(MAX_OVERLAP, MIN_GAIN) for c, found in groups.items()}
    apart = {c: upper for c, upper in found_apart.items() if upper is not None}
    scores = torch.zeros(len(pool), dtype=torch.float64)
    for c, found in groups.items():
        scores[predicted == c] = torch.tensor(found.scores)
    flagged = torch.zeros(len(pool), dtype=torch.bool)
    sides = dict[int, Triggered]()
    if apart:
        sides = TriggeredSide(model, pool, layers, read, apart, see).find(
            {
                c: ((predicted == c).nonzero().flatten(), torch.tensor(upper))
                for c, upper in apart.items()
            }
        )
    targets = list(sides)
    for c, triggered in sides.items():
        members, side = (predicted == c).nonzero().flatten(), triggered.members
        flagged[members] = side
        own = scores[members]
        scores[members] = own if own[side].mean() > own[~side].mean() else -own
        logger.info(
            f"predicted as class {label(c)}: {int(side.sum())} of {len(side)} samples look "
            "triggered"
        )
    if not targets:
        raise NoTriggerError(
            f"{pool.source}: among {len(pool)} samples, {method} finds none that are triggered; "
            "give more samples of each class, another --split-by, or --reconstruct"
        )
    if small := [c for c in targets if int(flagged[predicted == c].sum()) < FEW]:
        logger.info(
            f"of {class_list(small, label)} fewer than {FEW} do, which may be by chance: look "
            "at them (build --report lists them), or use a larger pool"
        )
    if of_few_classes := [c for c, triggered in sides.items() if triggered.few_classes]:
        logger.info(
            f"those of {class_list(of_few_classes, label)} show only a few other classes, so they "
            "may be clean ones that look alike, such as several pictures of one thing: look at "
            "them (build --report lists them)"
        )
    return Split(predicted, scores, flagged, tuple(targets), read.logits)
