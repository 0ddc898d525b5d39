"""Whether a handler prepares images as the settings say that its bundle was calibrated with."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image
from torch import Tensor

from torchserve_fire.errors import ConfigError, FireError
from torchserve_fire.format.bundle import InputDescription
from torchserve_fire.model.config import load_config
from torchserve_fire.model.preprocess import read_body

from ..deployment.archive.next_archive import config_of
from .archive import ArchiveSource
from .model_source import ModelSource

MOST = 0.03
"""Mean difference of pixels, of 0 to 1, that another way to interpolate may make."""


def refuse_other_preparation(source: ModelSource) -> None:
    """Refuse an archive whose own handler prepares images otherwise than its settings say.

    The settings are what the bundle was calibrated with. An image that changes in each direction
    goes both ways: another mean, size or crop, turned images and swapped channels show.

    Args:
        source: an archive with the repair around a handler.

    Raises:
        ConfigError: it does.
        FireError: the handler cannot be followed, so that nothing is known.
    """
    if not isinstance(source, ArchiveSource):
        return
    config = load_config(config_of(source.archive.folder))
    if config.input != "image":
        return
    if source.input_kind is not None:
        source.describe_input()  # Refuses another mean, to the third digit.
    described = config.describe_input()
    height, width = described.shape[1:]
    try:
        # Another shape and size, so that resizing shows.
        body = _slopes(2 * height, 3 * width)
        theirs = source.prepare(body, "slopes.png")
    except FireError:
        body = _slopes(height, width)
        theirs = source.prepare(body, "slopes.png")
    ours = read_body(body, described)
    if ours.shape == theirs.shape:
        found = float((_pixels(ours, described) - _pixels(theirs, described)).abs().mean())
        if found <= MOST:
            return
    raise ConfigError(
        f"{source.archive.source}: the handler prepares images otherwise than the settings "
        "say, with which the bundle was calibrated (cropped, turned, other channels or mean): pack "
        "the model with its handler first, and give that archive to torchserve-fire repair"
    )


def try_preparation(source: ModelSource) -> str:
    """Do as `refuse_other_preparation`, and return why nothing is known, an empty text if all is.

    Raises:
        ConfigError: as there.
    """
    try:
        refuse_other_preparation(source)
    except ConfigError:
        raise
    except FireError as error:
        return str(error)
    return ""


def _slopes(height: int, width: int) -> bytes:
    """Return a PNG whose channels rise to the right, downwards, and both ways."""
    down, right = np.meshgrid(np.linspace(0, 1, height), np.linspace(0, 1, width), indexing="ij")
    pixels = (255 * np.stack([right, down, (right + down) / 2], 2)).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def _pixels(sample: Tensor, described: InputDescription) -> Tensor:
    mean, std = (sample.new_tensor(x)[:, None, None] for x in (described.mean, described.std))
    return sample * std + mean
