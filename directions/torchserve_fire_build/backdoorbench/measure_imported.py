"""What the imported model answers to the imported samples, both as a server would take them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import torch
from torch import Tensor

from ..common.errors import SamplesError
from ..common.progress import Progress
from ..measure.figures import interval
from ..measure.fit_to_model import check_fit
from ..samples.evidence import gather_evidence
from ..samples.labels import require_labels
from ..samples.predict import logits_of, predict_logits
from ..samples.samples import Samples
from ..source.model_source import ModelSource


@dataclass(frozen=True)
class Measured:
    """Shares in [0, 1].

    Attributes:
        clean_accuracy: on all clean images.
        attack_success_rate: share of the triggered images that are predicted as their target.
        natural_rate: share of their clean partners that are predicted as that class anyway.
        counts: number of clean and of triggered images.
        no_pairs: why the images are no pairs to a build; empty where they are.
    """

    clean_accuracy: float
    attack_success_rate: float
    natural_rate: float
    counts: tuple[int, int]
    no_pairs: str = ""

    @property
    def gain(self) -> float:
        """The share of images that the trigger leads to the target, beyond those called so anyway.

        It is below 0 where it leads them away.
        """
        return self.attack_success_rate - self.natural_rate

    def lines(self) -> list[str]:
        """Return the figures as the lines of a table."""
        clean, triggered = self.counts
        rows = {
            "clean accuracy": (self.clean_accuracy, clean),
            "attack success rate": (self.attack_success_rate, triggered),
            "natural rate": (self.natural_rate, triggered),
        }
        lines = [f"{'':22}{'':>10}{'95 % interval':>18}"]
        for name, (share, count) in rows.items():
            low, high = (f"{100 * end:.1f}" for end in interval(share, count))
            lines.append(f"{name:22}{share:>10.2%}{f'{low} to {high}%':>18}   of {count}")
        return lines


def measure_imported(
    source: ModelSource, folder: Path, targets: Mapping[int, int], *, warn: bool
) -> Measured:
    """Measure the model on the samples of a folder.

    Args:
        source: the model, loaded from what was written.
        folder: holds `clean` and `triggered`; each image is called by its index.
        targets: the class that the trigger leads each index to.
        warn: whether to warn of settings under which the model would be right far more often.

    Raises:
        FireError: the model fails on the samples.
    """
    model = source.loaded.model
    groups = [source.open_samples(folder / name) for name in ("clean", "triggered")]
    clean, triggered = groups
    classes = logits_of(model, clean.description.example()).shape[1]
    labels, _ = require_labels(groups, classes, source.names_file, model)
    with Progress("predicting", len(clean) + len(triggered)) as progress:
        on_clean, on_triggered = (
            predict_logits(model, samples, range(len(samples)), progress) for samples in groups
        )
    if warn:
        check_fit(model, clean, labels, on_clean, accept=True)
    aims = torch.tensor([targets[index] for index in _indices(triggered)])
    row = {index: i for i, index in enumerate(_indices(clean))}
    partners = on_clean.argmax(1)[[row[index] for index in _indices(triggered)]]
    return Measured(
        _share(on_clean.argmax(1) == labels),
        _share(on_triggered.argmax(1) == aims),
        _share(partners == aims),
        (len(clean), len(triggered)),
        _why_no_pairs(clean, triggered),
    )


def _why_no_pairs(clean: Samples, triggered: Samples) -> str:
    try:
        gather_evidence(clean, triggered)
    except SamplesError as error:
        return str(error)
    return ""


def _indices(samples: Samples) -> Sequence[int]:
    return [int(PurePosixPath(name).stem) for name in samples.names]


def _share(right: Tensor) -> float:
    return float(right.double().mean())
