"""Flagged inputs, kept in a folder that `build --triggered` takes as it is.

What is kept is the sample as the model saw it: an 8-bit PNG, or a `.npz` where the model takes a
tensor. So nothing has to be decoded again, and nothing else that a file holds, such as a place or a
name, is kept. Where an archive's own handler prepares inputs, the request's body is kept, which it
can prepare again.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import os
import re
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..errors import ConfigError
from ..format.bundle import InputDescription
from ..model.config import QuarantineConfig
from ..model.kept_input import kept_input_mark
from ..model.request_body import SUFFIXES, RequestBody

logger = logging.getLogger(__name__)

ROUNDING = 0.01
"""In shades of 8-bit pixels. An image that is further from whole shades was sent as floating point
numbers."""

DAY = 24 * 3600.0
PRUNE_SECONDS = 3600.0
FREED = 0.1
"""Share of the room that is freed at once where it is full, so that files are seldom counted."""

KEPT = re.compile(rf"[0-9a-f]{{32}}({'|'.join(map(re.escape, ('.npz', *SUFFIXES)))})|.*\.part")
"""Names of files that count, and that may be deleted: no others are."""

UNSEEN = 100
"""Files kept after which the folder is counted again, for what other workers have added."""


class Quarantine:
    """The folder of one model; several workers may share it.

    Args:
        config: the folder, and its limits.
        model: the model's name.
        description: what the model takes.

    Raises:
        ConfigError: the folder cannot be made, or takes no files.
    """

    def __init__(self, config: QuarantineConfig, model: str, description: InputDescription) -> None:
        self._folder = config.folder / model
        self._config = config
        self._description = description
        self._lock = threading.Lock()
        self._failed = False
        self._room = 0.0
        self._until_counted = 0
        self._pruned = 0.0
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self._folder):
                pass
        except OSError as error:
            raise ConfigError(
                f"handler: quarantine: folder: {self._folder}: {error.strerror}, expected a folder "
                "that the server may write to"
            ) from None
        self.prune()

    def keep(self, sample: Tensor | RequestBody) -> None:
        """Keep a sample, or the body of a request, once, and make room for it.

        What no 8-bit image gives (floating point numbers sent in place of one) is not kept. That a
        folder takes no more files is logged once, and no request fails for it.
        """
        try:
            data: bytes | None
            if isinstance(sample, RequestBody):
                raw = data = sample.content
                suffix = sample.suffix
            else:
                sample = sample.detach().cpu().contiguous()
                raw, data = sample.numpy().tobytes(), self._encode(sample)
                suffix = ".png" if self._description.kind == "image" else ".npz"
            if data is not None and len(data) <= self._config.max_megabytes * 1e6:
                self._write(hashlib.sha256(raw).hexdigest()[:32] + suffix, data)
        except OSError as error:
            if not self._failed:
                logger.error(
                    "torchserve-fire: %s: a flagged input could not be kept: %s",
                    self._folder,
                    error.strerror,
                )
            self._failed = True

    def prune(self) -> None:
        """Delete what is too old, and the oldest of what is too much; at most once an hour."""
        with self._lock:
            if time.monotonic() - self._pruned > PRUNE_SECONDS or not self._pruned:
                self._pruned = time.monotonic()
                with contextlib.suppress(OSError):  # It is logged where something is to be kept.
                    self._make_room(0)

    def _encode(self, sample: Tensor) -> bytes | None:
        file = io.BytesIO()
        if self._description.kind != "image":
            np.savez(file, inputs=sample.numpy()[None])
            return file.getvalue()
        mean = torch.tensor(self._description.mean).view(-1, 1, 1)
        std = torch.tensor(self._description.std).view(-1, 1, 1)
        shades = (sample * std + mean) * 255
        pixels = shades.round().clamp(0, 255)
        if not bool((pixels - shades).abs().max() <= ROUNDING):
            return None
        values = pixels.byte().permute(1, 2, 0).numpy()
        image = Image.fromarray(values if values.shape[2] == 3 else values[:, :, 0])
        image.save(file, "PNG", pnginfo=kept_input_mark())
        return file.getvalue()

    def _write(self, name: str, data: bytes) -> None:
        path = self._folder / name
        with self._lock:
            if path.exists():
                return
            if self._until_counted == 0 or len(data) > self._room:
                self._make_room(len(data))
            # A name that no reader of samples takes, until the file is whole.
            handle, temporary = tempfile.mkstemp(prefix=".", suffix=".part", dir=self._folder)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(data)
                Path(temporary).replace(path)
            except BaseException:
                Path(temporary).unlink(missing_ok=True)
                raise
            self._room -= len(data)
            self._until_counted -= 1

    def _make_room(self, size: int) -> None:
        """Count the files, and delete the oldest until one of `size` bytes has its place."""
        files = []
        for entry in os.scandir(self._folder):
            # Another worker may delete them meanwhile.
            with contextlib.suppress(FileNotFoundError):
                if KEPT.fullmatch(entry.name):
                    status = entry.stat()
                    files.append((status.st_mtime, status.st_size, entry.path))
        files.sort()
        oldest = time.time() - self._config.max_days * DAY
        limit = self._config.max_megabytes * 1e6
        self._room = limit - sum(length for _, length, _ in files)
        wanted = size if self._room >= size else max(size, FREED * limit)
        for changed, length, path in files:
            if changed >= oldest and self._room >= wanted:
                break
            Path(path).unlink(missing_ok=True)
            self._room += length
        self._until_counted, self._pruned = UNSEEN, time.monotonic()
