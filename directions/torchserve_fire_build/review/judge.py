"""What the model says of flagged files, before and after repair, and which of them are alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from torchserve_fire.errors import FireError
from torchserve_fire.format.bundle import Bundle

from ..common.errors import SamplesError
from ..common.progress import Progress
from ..estimate.candidate_layers import candidate_layers
from ..pool.last_layer import read_last_layer
from ..samples.class_label import label_in
from ..samples.kept import keep_decoded
from ..samples.samples import Samples
from ..samples.subset import Subset
from ..screening.bundle_screening import screen_with_bundle
from ..source.model_source import ModelSource
from .flagged_folder import PICTURE, kind_of, read_file
from .likeness import group_alike, picture_features
from .small_picture import small_picture

SEED = 0


def judge_with_model(
    source: ModelSource, bundle: Bundle, folder: Path, names: Sequence[str]
) -> dict[str, Any]:
    """Have a model and its bundle judge flagged files, and group those that the model takes alike.

    Args:
        source: the model.
        bundle: that flagged the files.
        folder: where they lie.
        names: of the files, one sample each.

    Returns:
        JSON values: `files`, for each name what was predicted `before` and `after` repair, the
        `score`, its `threshold`, whether it is `flagged`, and the number of its `group`; and
        `unreadable`, for each other name why the model does not take it.

    Raises:
        FireError: the model takes none of them, or the bundle does not fit.
    """
    samples = open_flagged(source, folder, names)
    unreadable: dict[str, str] = {}
    good: list[int] = []
    with Progress("reading the flagged files", len(samples)) as progress:
        for i, name in enumerate(names):
            try:
                samples.load([i])
                good.append(i)
            except FireError as error:
                unreadable[name] = str(error)
            progress.advance()
    if not good:
        raise SamplesError(f"{folder}: no file can be read: {next(iter(unreadable.values()))}")
    readable = Subset(samples, good)
    model = source.loaded.model
    screened = screen_with_bundle(
        model,
        bundle,
        readable,
        # Of an older bundle the digest of the weights' file was compared before.
        allow_other_weights=source.allow_other_weights or bundle.state_sha256 is None,
    )
    example = readable.description.example()
    last = candidate_layers(model, example)[-1]
    with Progress("grouping by likeness", len(readable)) as progress:
        read = read_last_layer(model, readable, example, last, progress)
    every = torch.ones(len(readable), dtype=torch.bool)
    groups = group_alike(read.features[every].numpy(), SEED)
    label = label_in(source.names_file)
    files = {
        names[i]: {
            "before": label(row["predicted"]),
            "after": label(row["repaired"]),
            "score": row["score"],
            "threshold": row["threshold"],
            "flagged": row["flagged"],
            "group": group,
        }
        for i, row, group in zip(good, screened.rows(), groups, strict=True)
    }
    return {"files": files, "unreadable": unreadable}


def judge_by_eye(folder: Path, names: Sequence[str]) -> dict[str, Any]:
    """Group flagged pictures that look alike, where no model is given; as `judge_with_model`."""
    unreadable: dict[str, str] = {}
    good, pictures = [], []
    with Progress("reading the flagged files", len(names)) as progress:
        for name in names:
            try:
                if kind_of(name) == PICTURE:
                    pictures.append(small_picture(read_file(folder, name)))
                    good.append(name)
            except SamplesError as error:
                unreadable[name] = str(error)
            progress.advance()
    groups = group_alike(picture_features(pictures), SEED)
    files: Mapping[str, Any] = {
        name: {"group": group} for name, group in zip(good, groups, strict=True)
    }
    return {"files": files, "unreadable": unreadable}


def open_flagged(source: ModelSource, folder: Path, names: Sequence[str]) -> Samples:
    """Open flagged files as samples, in their order, each decoded once.

    Raises:
        SamplesError: they are not what the model takes, or hold more than one sample each.
    """
    samples = source.open_files([folder / name for name in names])
    if len(samples) != len(names):
        raise SamplesError(
            f"{folder}: {len(samples)} samples in {len(names)} files, expected one in each, as a "
            "server keeps them"
        )
    return keep_decoded(samples)
