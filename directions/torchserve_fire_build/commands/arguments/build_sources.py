"""What `build` takes its evidence from: triggered samples, a quarantine, or a pool."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ...common.names import COMPONENTS, REDUCING, SPLITS
from ..refusal import Refusal

if TYPE_CHECKING:
    from torchserve_fire.format.bundle import Bundle
    from torchserve_fire.model.config import HandlerConfig
    from torchserve_fire.model.load_model import LoadedModel

    from ...building.from_samples import BuildOptions
    from ...samples.evidence import Evidence
    from ...samples.samples import Samples


class Gathered(NamedTuple):
    """What a bundle is built from.

    Attributes:
        evidence: the samples.
        options: what was given, with what finding the samples said of the triggers' targets.
        first: the bundle that is refined, whose other repairs stay as they are.
        write_report: writes into a folder how these were found, if they had to be.
    """

    evidence: Evidence
    options: BuildOptions
    first: Bundle | None = None
    write_report: Callable[[Path], None] | None = None


def check_source(args: argparse.Namespace) -> None:
    """Refuse flags of another source of evidence than the one that is given.

    Raises:
        Refusal: naming the flag.
    """
    splits = args.pool is not None or args.refine is not None
    if args.triggered is not None and args.clean is None:
        raise Refusal("--clean: expected clean samples beside --triggered")
    if args.refine is not None and args.triggered is None:
        raise Refusal("--refine: expected beside --triggered, which it cleans")
    if args.split_by is not None and not splits:
        raise Refusal(
            f"--split-by {args.split_by}: expected beside --pool or --refine, whose samples it "
            "splits"
        )
    if args.components is not None and not (splits and (args.split_by or SPLITS[0]) == REDUCING):
        raise Refusal(
            f"--components {args.components}: expected beside --pool or --refine, and "
            f"--split-by {REDUCING}"
        )


def gather(
    args: argparse.Namespace,
    loaded: LoadedModel,
    config: HandlerConfig,
    options: BuildOptions,
) -> Gathered:
    """Return the samples that were given, or found among those that were given.

    Args:
        args: of the command.
        loaded: the model.
        config: its input.
        options: of the build, as far as they were given.

    Raises:
        CalibrationError: the bundle to refine is for no target, or not for the one that was named.
        BundleError: it cannot be read, or was built for another model.
        ConfigError: it was built for another input.
        NoTriggerError: no trigger was found.
        SamplesError: the samples cannot be used.
    """
    from ...samples.evidence import gather_evidence
    from ...samples.samples import open_samples

    if args.pool is not None:
        clean = None if args.clean is None else open_samples(args.clean, config)
        return _from_pool(args, loaded, config, clean, options)
    clean = open_samples(args.clean, config)
    if args.refine is not None:
        return _from_quarantine(args, loaded, config, clean, options)
    return Gathered(gather_evidence(clean, open_samples(args.triggered, config)), options)


def _from_pool(
    args: argparse.Namespace,
    loaded: LoadedModel,
    config: HandlerConfig,
    clean: Samples | None,
    options: BuildOptions,
) -> Gathered:
    import torch

    from ...measure.target import check_target
    from ...pool.split import split_pool
    from ...pool.unlabelled import UnlabelledSamples
    from ...report.pool_report import write_split_report
    from ...samples.evidence import gather_evidence
    from ...samples.predict import logits_of
    from ...samples.samples import open_samples

    pool = open_samples(args.pool, config)
    description = pool.describe_input(config)
    example = description.example()
    if options.target is not None:
        check_target(options.target, logits_of(loaded.model, example).shape[1])
    split = split_pool(
        loaded.model,
        pool,
        example,
        args.split_by or SPLITS[0],
        components=args.components or COMPONENTS,
        layers=options.layers,
        clean=clean,
        generator=torch.Generator().manual_seed(args.seed),
        tell=print,
    )
    flagged, others = (x.nonzero().flatten().tolist() for x in (split.flagged, ~split.flagged))
    return Gathered(
        gather_evidence(
            UnlabelledSamples(pool, others) if clean is None else clean,
            UnlabelledSamples(pool, flagged),
        ),
        replace(options, all_to_all=split.all_to_all),
        write_report=lambda folder: write_split_report(split, pool, description, folder),
    )


def _from_quarantine(
    args: argparse.Namespace,
    loaded: LoadedModel,
    config: HandlerConfig,
    clean: Samples,
    options: BuildOptions,
) -> Gathered:
    from ...common.errors import CalibrationError
    from ...measure.figures import class_list
    from ...pool.quarantine import clean_quarantine
    from ...pool.unlabelled import UnlabelledSamples
    from ...report.pool_report import write_split_report
    from ...samples.evidence import gather_evidence
    from ...samples.samples import open_samples

    first = _bundle_to_refine(args, loaded, config)
    if options.target not in (None, *first.targets):
        raise CalibrationError(
            f"--target {options.target}: {args.refine} is for {class_list(first.targets)}"
        )
    description = clean.describe_input(config)
    cleaned = clean_quarantine(
        loaded.model,
        open_samples(args.triggered, config),
        clean,
        description.example(),
        args.split_by or SPLITS[0],
        targets=first.targets if options.target is None else (options.target,),
        components=args.components or COMPONENTS,
        layers=options.layers,
        seed=args.seed,
    )
    for line in cleaned.describe():
        print(line)
    targets = cleaned.split.targets
    return Gathered(
        gather_evidence(clean, UnlabelledSamples(cleaned.samples, cleaned.kept)),
        replace(options, target=targets[0])
        if len(targets) == 1
        else replace(options, several=targets),
        first,
        write_report=lambda folder: write_split_report(
            cleaned.split, cleaned.samples, description, folder
        ),
    )


def _bundle_to_refine(
    args: argparse.Namespace, loaded: LoadedModel, config: HandlerConfig
) -> Bundle:
    """Return the first bundle, if what it flagged leads to classes that it names."""
    from ...common.errors import CalibrationError
    from .fitting_bundle import load_fitting_bundle

    bundle = load_fitting_bundle(args.refine, config, loaded)
    if not all(repair.only_target for repair in bundle.repairs):
        raise CalibrationError(
            f"{args.refine}: flags samples whatever class they are predicted as, expected a bundle "
            "for triggers that lead to one class each"
        )
    return bundle
