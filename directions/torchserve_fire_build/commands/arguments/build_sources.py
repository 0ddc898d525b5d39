"""What `build` builds from: triggered samples, a quarantine, a pool, or clean samples alone."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from ...common.names import COMPONENTS, REDUCING, SPLITS
from ..refusal import Refusal
from .clean_to_search import clean_to_search
from .engine import open_workers
from .model import source_files
from .reconstruct import searches
from .search import read_search_settings
from .target import target_class

if TYPE_CHECKING:
    from ...building.pool_on_workers import PoolOnWorkers
    from ...building.result import BuildResult
    from ...samples.samples import Samples
    from ...source.model_source import ModelSource


def check_source(args: argparse.Namespace) -> None:
    """Refuse flags of another source of evidence than the one that is given.

    Raises:
        Refusal: naming the flag.
    """
    splits = args.pool is not None or args.refine is not None
    if args.triggered is not None and args.clean is None:
        raise Refusal("--clean: expected clean samples beside --triggered")
    if args.unpaired and args.triggered is None:
        raise Refusal("--unpaired: expected beside --triggered, whose samples it is about")
    if args.refine is not None and args.triggered is None:
        raise Refusal("--refine: expected beside --triggered, which it cleans")
    if args.engine is not None and args.pool is None:
        raise Refusal(f"--engine {args.engine}: expected beside --pool, which it reads")
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


def build_from_sources(args: argparse.Namespace, source: ModelSource) -> BuildResult:
    """Build a bundle from the samples that were given.

    Args:
        args: of the command.
        source: the model.

    Raises:
        FireError: a bundle to refine was built for another model, the samples cannot be used, no
            trigger was found, or nothing repairs it.
    """
    from ...building.from_samples import build_bundle
    from ...common.budget import Budget
    from .fitting_bundle import load_fitting_bundle

    given: dict[str, Any] = {
        "layers": None if args.layers == "auto" else args.layers.split(","),
        "form": args.form,
        "augment": args.augment,
        "seed": args.seed,
        "cache": args.cache,
        "names_file": source.names_file,
        "accept_accuracy": args.accept_accuracy,
    }
    loaded = source.loaded
    split_by: dict[str, Any] = {
        "split_by": args.split_by or SPLITS[0],
        "components": args.components or COMPONENTS,
    }
    # Each source of evidence loads what it needs: scikit-learn alone takes a second.
    if args.reconstruct is not None:
        from ...building.from_clean import build_from_clean
        from ...building.search_plan import SearchPlan

        sought, budget = searches(args.reconstruct), Budget(args.budget)
        if args.clean is None:
            # A wrong name is refused before images are recovered.
            given["target"] = target_class(args, source)
        clean = clean_to_search(args.clean, source, args.seed, budget)
        settings = read_search_settings(args)
        plan = SearchPlan(sought.methods, sought.otherwise, settings, budget)
        if args.clean is not None:
            given["target"] = target_class(args, source, clean)
        return build_from_clean(loaded, clean, plan=plan, **given)
    known = None if args.clean is None else source.open_samples(args.clean)
    if args.pool is not None:
        from ...building.from_pool import build_from_pool

        pool = source.open_samples(args.pool)
        # The folders of a pool are the attacker's.
        given["target"] = target_class(args, source, *(() if known is None else (known,)))
        with ExitStack() as stack:
            elsewhere = None if args.engine is None else stack.enter_context(_workers(args, pool))
            return build_from_pool(
                loaded, pool, clean=known, elsewhere=elsewhere, **split_by, **given
            )
    triggered = source.open_samples(args.triggered)
    if known is None:
        raise Refusal("--clean: expected clean samples beside --triggered")
    given["target"] = target_class(args, source, known, triggered)
    if args.refine is not None:
        from ...building.from_quarantine import refine_bundle

        bundle = load_fitting_bundle(args.refine, source)
        return refine_bundle(loaded, bundle, known, triggered, **split_by, **given)
    return build_bundle(loaded, known, triggered, unpaired=args.unpaired, **given)


@contextmanager
def _workers(args: argparse.Namespace, pool: Samples) -> Iterator[PoolOnWorkers]:
    """Yield what has workers run the model on a pool.

    Raises:
        FireError: the workers cannot be started.
        Refusal: the pool is one file, which is read in one piece.
    """
    from ...building.pool_on_workers import PoolOnWorkers

    if pool.paths is None:
        raise Refusal(f"--engine {args.engine}: expected a --pool with a file for each sample")
    with open_workers(args) as workers:
        yield PoolOnWorkers(workers, source_files(args), pool.paths)
