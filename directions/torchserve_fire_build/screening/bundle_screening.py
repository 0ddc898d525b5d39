"""Screening samples with a bundle: what it flags, and what its repair makes of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from torchserve_fire.format.bundle import INPUT_LAYER, Bundle, Repair
from torchserve_fire.repair.attach import attach
from torchserve_fire.repair.attach_layers import attach_layers
from torchserve_fire.repair.example_input import example_for
from torchserve_fire.repair.verdict import Verdict

from ..common.errors import SamplesError
from ..common.progress import Progress
from ..common.text_table import text_table
from ..measure.figures import class_list
from ..samples.class_label import Label
from ..samples.fitting_batches import fitting_batches
from ..samples.kept import keep_decoded
from ..samples.predict import logits_of, predict_logits
from ..samples.samples import Samples, bytes_of, require_samples

SHOWN = 20
"""Samples that are printed."""

COLUMNS = ("sample", "called", "repaired", "flagged", "score", "threshold", "at layer", "repair")


@dataclass(frozen=True)
class SampleVerdict:
    """What a bundle says of one sample.

    Attributes:
        predicted: the class that the model calls it.
        repaired: the class that it is called with the bundle.
        flagged: whether the bundle flags it.
        repair: which of the bundle's repairs flags it; else the first one that could have.
        score: its projection at the layer by which that repair detects; None where there is none.
    """

    predicted: int
    repaired: int
    flagged: bool
    repair: int
    score: float | None


@dataclass(frozen=True)
class BundleScreening:
    """The verdicts of a bundle on M samples.

    Attributes:
        names: of the samples.
        verdicts: on each.
        repairs: of the bundle.
    """

    names: Sequence[str]
    verdicts: Sequence[SampleVerdict]
    repairs: Sequence[Repair]

    @property
    def found(self) -> bool | None:
        """Whether a sample is flagged; None of a bundle that does not detect."""
        if self.repairs[0].detecting_layer is None:
            return None
        return any(verdict.flagged for verdict in self.verdicts)

    def order(self) -> list[int]:
        """Return the indices of the samples, those that are flagged first."""
        return sorted(range(len(self.names)), key=lambda i: not self.verdicts[i].flagged)

    def rows(self) -> list[dict[str, Any]]:
        """Return one row for each sample, as JSON values."""
        rows = []
        for name, verdict in zip(self.names, self.verdicts, strict=True):
            layer = self.repairs[verdict.repair].detecting_layer
            detection = None if layer is None else layer.detection
            rows.append(
                {
                    "path": name,
                    "predicted": verdict.predicted,
                    "repaired": verdict.repaired,
                    "flagged": verdict.flagged,
                    "score": verdict.score,
                    "threshold": None if detection is None else detection.threshold,
                    "layer": None if layer is None else layer.name,
                    "repair": verdict.repair,
                }
            )
        return rows

    def to_json(self) -> dict[str, Any]:
        """Return all of it as JSON values."""
        return {"found": self.found, "samples": self.rows()}

    def table(self, label: Label = str) -> list[str]:
        """Return lines to print: the samples, and the verdict.

        Args:
            label: says what a class is called.
        """
        rows, order = self.rows(), self.order()
        lines = text_table(COLUMNS, (_cells(rows[i], label) for i in order[:SHOWN]))
        if len(order) > SHOWN:
            lines.append(f"and {len(order) - SHOWN} more samples")
        return [*lines, self.in_words(label)]

    def in_words(self, label: Label = str) -> str:
        """Return the verdict as a whole."""
        if self.found is None:
            return "could not tell: this bundle moves every input, and flags none: use --clean"
        count = sum(verdict.flagged for verdict in self.verdicts)
        if not count:
            return "nothing found: none is flagged; the bundle knows the trigger it was built for"
        changed = sum(v.flagged and v.predicted != v.repaired for v in self.verdicts)
        return (
            f"found: {count} of {len(self.names)} samples are flagged; the repair has {changed} "
            "of these called otherwise"
        )


def screen_with_bundle(
    model: nn.Module,
    bundle: Bundle,
    samples: Samples,
    *,
    allow_other_weights: bool = False,
    elsewhere: Callable[[Progress], list[SampleVerdict]] | None = None,
) -> BundleScreening:
    """Have a bundle judge samples, and repair those that it flags.

    Args:
        model: the model that the bundle was built for, in evaluation mode.
        bundle: the bundle.
        samples: the samples; labels are not used.
        allow_other_weights: whether to use a bundle that was built for other weights.
        elsewhere: does as `read_verdicts`; None to do so here.

    Raises:
        SamplesError: there are no samples, or they have another shape than the bundle's input.
        CalibrationError: the model fails on them.
        AttachError: the bundle does not fit the model.
    """
    require_samples(samples)
    if samples.description.shape != bundle.input.shape:
        raise SamplesError(
            f"{samples.source}: inputs of shape {samples.description.shape}, the bundle was "
            f"built for {bundle.input.shape}"
        )
    with Progress("screening", 2 * len(samples)) as progress:
        if elsewhere is not None:
            verdicts = elsewhere(progress)
        else:
            verdicts = read_verdicts(
                model, bundle, samples, progress, allow_other_weights=allow_other_weights
            )
    return BundleScreening(list(samples.names), verdicts, bundle.repairs)


def read_verdicts(
    model: nn.Module,
    bundle: Bundle,
    samples: Samples,
    progress: Progress,
    *,
    allow_other_weights: bool,
) -> list[SampleVerdict]:
    """Run a model on samples without its repair, and with it.

    Args:
        model: in evaluation mode.
        bundle: built for inputs of this shape.
        samples: the samples, one or more.
        progress: advanced by twice the number of samples.
        allow_other_weights: whether to use a bundle that was built for other weights.

    Raises:
        FireError: as `screen_with_bundle`.
    """
    samples, every = keep_decoded(samples), range(len(samples))
    predicted = predict_logits(model, samples, every, progress).argmax(1)
    verdicts: list[SampleVerdict] = []
    example = example_for(model, samples.description)
    with (
        attach_layers(model, bundle.layers, example, target=bundle.target)
        if allow_other_weights
        else attach(model, bundle, example=example)
    ) as handle:

        def run(part: Sequence[int]) -> list[SampleVerdict]:
            repaired = logits_of(model, samples.load(part)).argmax(1)
            return _read(handle.verdict.on_cpu(), bundle.repairs, predicted[list(part)], repaired)

        size = bytes_of(samples.description)
        for part, read in fitting_batches(model, every, run, input_bytes=size):
            verdicts += read
            progress.advance(len(part))
    return verdicts


def _read(
    verdict: Verdict, repairs: Sequence[Repair], predicted: Tensor, repaired: Tensor
) -> list[SampleVerdict]:
    """Return the verdicts on the samples of one forward pass."""
    # Of the model's input, only what may be flagged is scored: those scores are not all there.
    scored = [i for i, repair in enumerate(repairs) if _of_layer(repair)]
    read = []
    for row, called in enumerate(predicted.tolist()):
        flagging = [i for i, flags in enumerate(verdict.flagged_by) if bool(flags[row])]
        may = [i for i in scored if not repairs[i].only_target or repairs[i].target == called]
        repair = (flagging or may or [0])[0]
        score = None
        if flagging and verdict.scores is not None:
            score = float(verdict.scores[row])
        elif repair in scored:
            score = float(verdict.detector_scores[scored.index(repair)][row])
        if score is not None and not math.isfinite(score):
            score = None
        read.append(SampleVerdict(called, int(repaired[row]), bool(flagging), repair, score))
    return read


def _of_layer(repair: Repair) -> bool:
    layer = repair.detecting_layer
    return layer is not None and layer.name != INPUT_LAYER


def _cells(row: dict[str, Any], label: Label) -> tuple[str, ...]:
    score, threshold = (
        "-" if value is None else f"{value:.3g}" for value in (row["score"], row["threshold"])
    )
    flagged = row["flagged"]
    return (
        row["path"],
        class_list([row["predicted"]], label),
        class_list([row["repaired"]], label),
        "yes" if flagged else "no",
        score,
        threshold,
        row["layer"] or "-",
        str(row["repair"]) if flagged else "-",
    )
