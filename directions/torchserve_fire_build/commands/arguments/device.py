"""`--device`, the same for all commands that run a model."""

from __future__ import annotations

import argparse

from .values import device


def add_device_argument(parser: argparse.ArgumentParser) -> None:
    """Add the flag."""
    parser.add_argument(
        "--device",
        type=device,
        default="auto",
        metavar="NAME",
        help="where the model runs: cpu, cuda, cuda:N or mps (default: auto, a CUDA GPU where "
        "there is one, else the CPU)",
    )


def add_trial_device_argument(parser: argparse.ArgumentParser) -> None:
    """Add the flag to a command that tries an archive beside the server that will serve it."""
    parser.add_argument(
        "--device",
        type=device,
        default="cpu",
        metavar="NAME",
        help="where the archive is tried before the server gets it: auto, cpu, cuda, cuda:N or mps "
        "(default: cpu, since GPUs are the server's)",
    )
