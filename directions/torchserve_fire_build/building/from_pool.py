"""From a pool of clean and triggered samples, mixed, to a bundle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import nn

from torchserve_fire.model.load_model import LoadedModel

from ..measure.target import check_target
from ..pool.activation_clustering import COMPONENTS
from ..pool.methods import DEFAULT_METHOD
from ..pool.split import split_pool
from ..samples.both import Both
from ..samples.class_label import label_of
from ..samples.evidence import gather_evidence
from ..samples.predict import logits_of
from ..samples.samples import Samples, require_samples
from ..samples.subset import unlabelled
from .build_options import BuildOptions
from .from_samples import as_loaded, build_from_evidence
from .pool_on_workers import PoolOnWorkers
from .result import BuildResult


def build_from_pool(
    model: nn.Module | LoadedModel,
    pool: Samples,
    *,
    clean: Samples | None = None,
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
    elsewhere: PoolOnWorkers | None = None,
) -> BuildResult:
    """Find the triggered samples of a pool, and build a bundle from them and the clean ones.

    Labels of the pool are not used: in a poisoned training set they are the attacker's.

    Args:
        model: in evaluation mode.
        pool: samples, some hundred of each class; it is unknown which of them are triggered.
        clean: samples that are known to be clean; None to use the rest of the pool.
        split_by: the method that finds the triggered samples, a name in
            `pool.methods.POOL_METHODS`.
        components: number of components that Activation Clustering reduces features to.
        target: the class that the trigger leads to; None to find it.
        layers: names of candidate layers; None to find them.
        form: as in `build_bundle`.
        augment: as in `build_bundle`.
        seed: of the random numbers.
        names_file: TorchServe's `index_to_name.json`, if the folders have its names.
        cache: folder to keep finished steps in, so that an interrupted build goes on from there;
            None to keep none.
        accept_accuracy: whether to go on if the model would be right on far more of the clean
            samples under another setting.
        elsewhere: runs the model on the pool, and compares its groups; None to do so here.

    Returns:
        The bundle, with what it was chosen from, and the split of the pool. It is not saved yet.

    Raises:
        NoTriggerError: no sample looks triggered.
        CalibrationError: there are too few samples, or no layer repairs the samples found.
        SamplesError: the samples cannot be used.
        OptionError: an argument is not one of its values.
        AttachError: the model is in training mode, or a named layer does not exist.
    """
    # A wrong option is refused before the work begins.
    options = BuildOptions(
        layers, target, form, seed, augment=augment, cache=cache, accept_accuracy=accept_accuracy
    )
    loaded = as_loaded(model)
    require_samples(pool)
    example = pool.description.example()
    classes = logits_of(loaded.model, example).shape[1]
    if target is not None:
        check_target(target, classes)
    split = split_pool(
        loaded.model,
        pool,
        example,
        split_by,
        components=components,
        layers=layers,
        clean=clean,
        generator=torch.Generator().manual_seed(seed),
        read_pool=None if elsewhere is None else elsewhere.read,
        workers=None if elsewhere is None else elsewhere.workers,
        see=None if elsewhere is None else elsewhere.see,
        # The folders of a pool are the attacker's.
        label=label_of([] if clean is None else [clean], classes, names_file or pool.names_file),
    )
    flagged, rest = (x.nonzero().flatten().tolist() for x in (split.flagged, ~split.flagged))
    evidence = gather_evidence(
        unlabelled(pool, rest) if clean is None else clean, unlabelled(pool, flagged)
    )
    options = replace(options, all_to_all=split.all_to_all)
    logits = of_folds = None
    if clean is None and split.logits is not None:
        # The samples are those of the pool, which the model has answered already.
        logits = Both(split.logits[~split.flagged], split.logits[split.flagged])
        if elsewhere is not None:
            of_folds = partial(elsewhere.folds, Both(rest, flagged))
    built = build_from_evidence(loaded, evidence, options, names_file, logits, of_folds)
    return replace(built, split=split, split_samples=pool)
