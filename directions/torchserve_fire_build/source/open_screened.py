"""Opening samples to screen that are named one by one, in folders, in lists, or all of these."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..samples.joined import JoinedSamples
from ..samples.listed_files import LIST_SUFFIXES
from ..samples.samples import Samples
from .model_source import ModelSource


def open_screened(paths: Sequence[Path], source: ModelSource) -> Samples:
    """Open samples of which nothing is known, not even their classes.

    Args:
        paths: files, and what `ModelSource.open_samples` takes.
        source: what the samples are for.

    Returns:
        The samples, called by their paths.

    Raises:
        SamplesError: a path does not hold what the model takes.
    """
    once = list(dict.fromkeys(paths))
    several = [path for path in once if path.is_dir() or path.suffix.lower() in LIST_SUFFIXES]
    single = [path for path in once if path not in several]
    parts = [source.open_samples(path) for path in several]
    if single:
        parts.append(source.open_files(single))
    return JoinedSamples(parts)
