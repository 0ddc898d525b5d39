"""What a choice is made from, of the hand-made backdoored classifiers."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from tests.directions.backdoored import TENSOR, tensor_sets
from tests.directions.backdoored_nets import backdoored
from torchserve_fire_build.choose.held_out import Group, HeldOut, hold_out
from torchserve_fire_build.estimate.layer_statistics import Statistics, collect_statistics
from torchserve_fire_build.measure.observation import Observation
from torchserve_fire_build.samples.both import Both
from torchserve_fire_build.samples.evidence import gather_evidence
from torchserve_fire_build.samples.folds import assign_folds
from torchserve_fire_build.samples.open_samples import open_samples
from torchserve_fire_build.samples.tensor_samples import TensorSamples


@dataclass(frozen=True)
class Prepared:
    """A model, the statistics of some of its layers, and held-out samples without labels."""

    model: nn.Module
    layers: Sequence[str]
    statistics: Statistics
    held_out: HeldOut


def prepared(
    folder: Path,
    kind: str,
    layers: Sequence[str],
    *,
    paired: bool = True,
    torn: bool = False,
    count: int = 40,
    drive: float = 50.0,
) -> Prepared:
    """Observe a net of a kind; `torn` pairs are samples of which nobody knows that they are."""
    sets = tensor_sets(folder, kind, paired=paired, count=count)
    evidence = gather_evidence(*(open_samples(p, TENSOR) for p in (sets.clean, sets.triggered)))
    evidence = replace(evidence, partners=()) if torn else evidence
    generator = torch.Generator().manual_seed(0)
    folds = assign_folds(evidence, generator)
    model = backdoored(kind, drive=drive)
    with torch.no_grad():
        logits = evidence.both.map(lambda samples: model(samples.load(range(count))))
    (statistics,) = collect_statistics(
        model,
        layers,
        evidence,
        folds,
        clean_targets=[logits.clean.argmax(1) == 0],
        uses=[torch.ones(count, dtype=torch.bool)],
    )
    observation = Observation(evidence, 4, Both(None, None), logits)
    held_out = hold_out(observation, folds, generator=generator)
    return Prepared(model, layers, statistics, held_out)


def inputs_of(group: Group) -> Tensor:
    """All inputs of a group, (N, *input shape)."""
    return group.samples.load(range(len(group.samples)))


def group_of(
    inputs: Tensor,
    folds: Sequence[int],
    logits: Tensor,
    reference: Tensor | None = None,
    expected: Tensor | None = None,
) -> Group:
    """Samples made by hand."""
    return Group(TensorSamples(inputs), torch.tensor(folds), logits, reference, expected)
