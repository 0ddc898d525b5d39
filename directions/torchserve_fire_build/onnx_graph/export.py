"""From a model and its bundle to a graph that was compared with the repaired model."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from torchserve_fire.format.bundle import Bundle, InputDescription
from torchserve_fire.model.class_names import read_class_names
from torchserve_fire.repair.attach import attach
from torchserve_fire.repair.attach_layers import attach_layers, check_model
from torchserve_fire.repair.example_input import example_for
from torchserve_fire.repair.output_kind import gives_probabilities

from ..common.errors import ExportError, SamplesError
from ..samples.samples import Samples, require_samples
from ..source.model_source import ModelSource
from .compare import Answers, Comparison, answers_of_attached, compare_graph
from .export_graph import export_graph
from .metadata import graph_metadata
from .one_repair import layers_with_one_repair, with_one_repair

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Exported:
    """A graph, and what is known of it.

    Attributes:
        graph: contents of the ONNX file.
        described: the model's input.
        classes: number of them.
        names: of the classes; none where they are not known.
        half: whether it computes in float16.
        comparisons: with `attach`: by all repairs, then of several by each one alone.
        flagged: how many of how many samples are flagged, clean ones first, then triggered ones.
    """

    graph: bytes
    described: InputDescription
    classes: int
    names: tuple[str, ...]
    half: bool
    comparisons: Sequence[Comparison]
    flagged: tuple[tuple[int, int], ...]

    @property
    def scored(self) -> bool:
        """Whether it has the output `score`."""
        return self.comparisons[0].scores is not None

    def lines(self) -> list[str]:
        """Return what to tell about it."""
        size = ", ".join(map(str, self.described.shape))
        kind = "int64" if self.described.kind == "integers" else "float32"
        outputs = [f"logits (N, {self.classes})", "flagged (N,)"]
        outputs += ["score (N,)"] if self.scored else []
        logits = max(each.logits for each in self.comparisons)
        scores = [each.scores for each in self.comparisons if each.scores is not None]
        within = f", scores within {max(scores):.1e}" if scores else ""
        sides = zip(self.flagged, ("clean", "triggered"), strict=False)
        flagged = " and ".join(f"{some} of {every} {side} ones" for (some, every), side in sides)
        first = self.comparisons[0]
        several = len(self.comparisons) - 1
        lines = [
            f"input (N, {size}) {kind}; outputs {', '.join(outputs)}"
            + ("; computes in float16" if self.half else ""),
            f"compared with attach in ONNX Runtime on {first.samples} samples"
            + (f", also by each of {several} repairs alone" if several else "")
            + f": logits within {logits:.1e} of their range{within}; flags are equal: {flagged}",
        ]
        if first.predictions:
            lines.append(f"{first.predictions} of {first.samples} are predicted as another class")
        return lines


def export_repaired(
    source: ModelSource,
    bundle: Bundle,
    clean: Samples,
    triggered: Samples | None = None,
    *,
    half: bool = False,
) -> Exported:
    """Export a model with its repair, and compare the graph with the hooks of `attach`.

    Args:
        source: the model; it is moved to the CPU.
        bundle: of the model.
        clean: samples to compare by.
        triggered: likewise. Without them, each repair must flag some of the clean ones.
        half: whether the network computes in float16.

    Raises:
        FireError: the bundle does not fit the model or the samples; a repair flags none of them;
            the graph cannot be made, or answers otherwise than the repaired model.
    """
    model = source.loaded.model.cpu()
    check_model(model)
    samples = [clean] if triggered is None else [clean, triggered]
    require_samples(*samples)
    for each in samples:
        if each.description.shape != bundle.input.shape:
            raise SamplesError(
                f"{each.source}: inputs of shape {each.description.shape}, the bundle was built "
                f"for {bundle.input.shape}"
            )
    if triggered is None:
        logger.warning(
            "without --triggered, the repair is compared on those clean samples alone that are "
            "flagged by mistake"
        )
    passes, attached = _answers(source, bundle, samples)
    classes = attached[None][0].logits.shape[1]
    names: tuple[str, ...] = ()
    if source.names_file is not None:
        names = tuple(each[-1] for each in read_class_names(source.names_file, classes))
    metadata = graph_metadata(
        bundle, clean.description, names, probabilities=gives_probabilities(model, bundle.input)
    )
    # Of a batch of one, a tracer cannot tell that it may have another size.
    pair = torch.cat([bundle.input.example()] * 2)
    graph = export_graph(model, bundle.repairs, passes, pair, half=half, metadata=metadata)
    comparisons = [
        compare_graph(
            graph if only is None else with_one_repair(graph, only, len(bundle.repairs)),
            samples,
            answers,
            half=half,
        )
        for only, answers in attached.items()
    ]
    flagged = tuple((int(a.flagged.sum()), len(a.flagged)) for a in attached[None])
    return Exported(graph, clean.description, classes, names, half, comparisons, flagged)


def _answers(
    source: ModelSource, bundle: Bundle, samples: Sequence[Samples]
) -> tuple[int, dict[int | None, list[Answers]]]:
    """Return the passes that a flagged sample costs, and what the repaired model answers.

    Returns:
        Beside the passes, the answers by all repairs (None), and of several by each one alone,
        since most samples never come to the second.

    Raises:
        ExportError: a repair flags none of the samples, so that it would not be compared.
        FireError: the bundle does not fit the model.
    """
    model, repairs = source.loaded.model, bundle.repairs
    example = example_for(model, bundle.input)
    # Of an older bundle the digest of the weights' file was compared when it was read.
    with (
        attach_layers(model, bundle.layers, example, target=bundle.target)
        if source.allow_other_weights or bundle.state_sha256 is None
        else attach(model, bundle, example=example)
    ) as handle:
        passes = handle.passes
        attached: dict[int | None, list[Answers]] = {
            None: answers_of_attached(model, handle, samples)
        }
    for i, repair in enumerate(repairs):
        layer = repair.detecting_layer
        if layer is None:
            continue  # It moves every sample.
        only = None
        if len(repairs) > 1:
            only = i
            layers = layers_with_one_repair(repairs, i)
            with attach_layers(model, layers, example, target=bundle.target) as handle:
                attached[only] = answers_of_attached(model, handle, samples)
        if not any(bool(answers.flagged.any()) for answers in attached[only]):
            raise ExportError(
                f"the repair for target {repair.target} that detects at {layer.name!r} flags "
                "none of the samples, so it cannot be "
                "compared: give --triggered samples that it flags"
            )
    return passes, attached
