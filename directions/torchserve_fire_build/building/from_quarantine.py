"""From the samples that a bundle flagged in production to a better bundle."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from torch import nn

from torchserve_fire.format.bundle import Bundle
from torchserve_fire.model.load_model import LoadedModel

from ..common.errors import CalibrationError
from ..measure.figures import class_list
from ..pool.activation_clustering import COMPONENTS
from ..pool.methods import DEFAULT_METHOD
from ..pool.quarantine import clean_quarantine
from ..samples.class_label import label_of
from ..samples.evidence import gather_evidence
from ..samples.predict import logits_of
from ..samples.samples import Samples
from ..samples.subset import unlabelled
from .build_options import BuildOptions
from .from_samples import as_loaded, build_from_evidence
from .join_bundles import renew_repairs
from .result import BuildResult

logger = logging.getLogger(__name__)


def refine_bundle(
    model: nn.Module | LoadedModel,
    bundle: Bundle,
    clean: Samples,
    flagged: Samples,
    *,
    split_by: str = DEFAULT_METHOD,
    components: int = COMPONENTS,
    target: int | None = None,
    layers: Sequence[str] | None = None,
    form: str = "gated",
    augment: str = "standard",
    seed: int = 0,
    names_file: Path | None = None,
    cache: Path | None = None,
    accept_accuracy: bool = False,
) -> BuildResult:
    """Build a better bundle from the samples that a bundle flagged in production, rightly or not.

    First, the flagged samples that really show the bundle's trigger are found. Repairs of other
    targets stay as they are.

    Args:
        model: in evaluation mode.
        bundle: the bundle that flagged the samples.
        clean: clean samples, some of them predicted as the bundle's targets.
        flagged: the quarantine of this model; some fifty samples or more.
        split_by: the method that finds the samples with the trigger, a name in
            `pool.methods.POOL_METHODS`.
        components: number of components that Activation Clustering reduces features to.
        target: which of the bundle's targets to refine; None for all.
        layers: names of candidate layers; None to find them.
        form: as in `build_bundle`.
        augment: as in `build_bundle`.
        seed: of the random numbers.
        names_file: TorchServe's `index_to_name.json`, if the folders have its names.
        cache: folder to keep finished steps in, so that an interrupted build goes on from there;
            None to keep none.
        accept_accuracy: whether to go on if the model would be right on far more of the clean
            samples under another setting.

    Returns:
        The better bundle, with what it was chosen from. It is not saved yet.

    Raises:
        NoTriggerError: no sample shows the trigger, or too few do.
        CalibrationError: the bundle does not repair single targets, or not this target; or no layer
            repairs the samples found.
        SamplesError: the samples cannot be used.
    """
    loaded = as_loaded(model)
    example = clean.description.example()
    label = label_of([clean], logits_of(loaded.model, example).shape[1], names_file)
    if not all(repair.only_target for repair in bundle.repairs):
        raise CalibrationError(
            "the bundle flags samples whatever class they are predicted as, expected a bundle for "
            "triggers that lead to one class each"
        )
    if target not in (None, *bundle.targets):
        raise CalibrationError(
            f"target {target}: the bundle to refine is for {class_list(bundle.targets, label)}"
        )
    cleaned = clean_quarantine(
        loaded.model,
        flagged,
        clean,
        example,
        split_by,
        targets=bundle.targets if target is None else (target,),
        components=components,
        layers=layers,
        seed=seed,
        label=label,
    )
    for line in cleaned.describe(label):
        logger.info(line)
    targets = cleaned.split.targets
    options = BuildOptions(
        layers,
        targets[0],
        form,
        seed,
        augment=augment,
        cache=cache,
        accept_accuracy=accept_accuracy,
    )
    if len(targets) > 1:
        options = replace(options, target=target, several=targets)
    evidence = gather_evidence(clean, unlabelled(cleaned.samples, cleaned.kept))
    built = build_from_evidence(loaded, evidence, options, names_file)
    return replace(
        built,
        bundle=renew_repairs(bundle, built.bundle),
        split=cleaned.split,
        split_samples=cleaned.samples,
    )
