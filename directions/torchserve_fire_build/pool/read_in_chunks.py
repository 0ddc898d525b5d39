"""The last layer on a pool of files, chunk by chunk, by workers that open the model themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from torchserve_fire.errors import FireError

from ..common.progress import Progress
from ..common.row_file import RowFile
from ..common.workers import Workers, results_of
from ..source.source_files import SourceFiles, opened
from .last_layer import LastLayer, read_rows

CHUNK = 2048
"""Samples of a chunk: whole batches of the CPU, and of a GPU, so that they are those of one
process, whose results are then the same to the bit."""


@dataclass(frozen=True)
class Chunk:
    """Some files of a pool, and the model that reads them.

    Attributes:
        files: of the model.
        paths: of the samples.
        otherwise: name of the layer to read if no linear layer returns the logits.
    """

    files: SourceFiles
    paths: Sequence[Path]
    otherwise: str


def read_chunk(chunk: Chunk) -> tuple[Tensor, Tensor] | str:
    """Return the input of the last layer, (n, D), and the logits, (n, classes), of a chunk.

    Returns:
        Or the message of what went wrong.
    """
    try:
        source = opened(chunk.files)
        samples = source.open_files(chunk.paths)
        parts = read_rows(
            source.loaded.model,
            samples,
            range(len(samples)),
            samples.description.example(),
            chunk.otherwise,
        )
        features, logits = zip(*parts, strict=True)
    except FireError as error:
        return str(error)
    return torch.cat(features), torch.cat(logits)


def read_in_chunks(
    workers: Workers,
    files: SourceFiles,
    paths: Sequence[Path],
    otherwise: str,
    progress: Progress,
) -> LastLayer:
    """Have workers run a model on samples and keep the input of its last layer.

    Args:
        workers: each loads the model once.
        files: of the model.
        paths: of the samples, one or more.
        otherwise: as in `last_layer.read_last_layer`.
        progress: advanced by the number of samples.

    Raises:
        CalibrationError: the model fails on the samples.
        FireError: a sample or the model cannot be read, or a worker was killed again and again.
    """
    chunks = (
        Chunk(files, paths[start : start + CHUNK], otherwise)
        for start in range(0, len(paths), CHUNK)
    )
    features, logits = RowFile(), dict[int, Tensor]()
    for place, read in results_of(workers, read_chunk, chunks):
        features.write(place * CHUNK, read[0])
        logits[place] = read[1]
        progress.advance(len(read[1]))
    return LastLayer(features, torch.cat([logits[place] for place in sorted(logits)]))
