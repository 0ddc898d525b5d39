"""`--engine` and `--workers`: where work is done that can be shared out."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..refusal import Refusal
from .values import at_least

if TYPE_CHECKING:
    from ...common.workers import Workers

RAY = "ray"


def add_engine_arguments(parser: argparse.ArgumentParser, what: str) -> None:
    """Add the flags; `what` says which work is shared out."""
    parser.add_argument(
        "--engine",
        choices=(RAY,),
        help=f"have the workers of Ray {what}: processes of this machine, or of the cluster that "
        "RAY_ADDRESS names; needs the extra 'ray' (default: this process does)",
    )
    parser.add_argument(
        "--workers",
        type=at_least(1),
        metavar="N",
        help=f"processes of --engine {RAY} on this machine, each with one thread (default: one for "
        "each CPU)",
    )


def check_engine_arguments(args: argparse.Namespace) -> None:
    """Refuse workers without an engine, and an engine that is not installed.

    Raises:
        Refusal: naming the flag.
        FireError: the extra is not installed.
    """
    from ...common.environment import require_extras

    if args.engine is None and args.workers is not None:
        raise Refusal(f"--workers {args.workers}: expected beside --engine {RAY}")
    if args.engine is not None:
        require_extras(RAY)
        if ":" in args.device:
            raise Refusal(
                f"--device {args.device}: expected cuda beside --engine {RAY}, which gives each "
                "worker a GPU of its own"
            )


@contextmanager
def open_workers(args: argparse.Namespace) -> Iterator[Workers]:
    """Yield what does the work; started before, and stopped afterwards.

    Raises:
        OptionError: a number of workers for a cluster, which has its own.
    """
    import torch

    from ...common.workers import ThisProcess

    if args.engine is None:
        yield ThisProcess()
        return
    from ...common.ray_workers import ray_workers

    on_gpu = args.device == "cuda" or (args.device == "auto" and torch.cuda.is_available())
    with ray_workers(args.workers, gpus=int(on_gpu)) as workers:
        yield workers
