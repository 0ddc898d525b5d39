"""Bodies of requests with seeded random inputs, to try an archive with."""

from __future__ import annotations

import io
import json

import numpy as np
from PIL import Image

from torchserve_fire.format.bundle import InputDescription
from torchserve_fire.format.table import CategoryColumn, Table

from .load_as_worker import Body

BODIES = 4


def random_bodies(description: InputDescription, seed: int = 0) -> list[Body]:
    """Return request bodies with random inputs: PNG images, JSON lists, or records of a table."""
    generator = np.random.default_rng(seed)
    bodies = []
    for _ in range(BODIES):
        if description.table is not None:
            record = _random_record(description.table, generator)
            bodies.append(Body(json.dumps(record).encode(), "application/json"))
            continue
        if description.kind != "image":
            values = (
                generator.standard_normal(description.shape).astype(np.float32)
                if description.kind == "tensor"
                # Whatever an embedding's size is, it has these.
                else generator.integers(0, 2, description.shape)
            )
            bodies.append(Body(json.dumps(values.tolist()).encode(), "application/json"))
            continue
        channels, height, width = description.shape
        if description.resizing.crop:
            # Larger, and of another aspect ratio, so that something is resized and cut off.
            height, width = height + height // 2 + 1, 2 * width + 1
        pixels = generator.integers(0, 256, (height, width, channels), dtype=np.uint8)
        file = io.BytesIO()
        Image.fromarray(pixels if channels == 3 else pixels[:, :, 0]).save(file, "PNG")
        bodies.append(Body(file.getvalue(), "image/png"))
    return bodies


def _random_record(table: Table, generator: np.random.Generator) -> dict[str, float | str]:
    """Return a row of numbers about the mean that the settings say, and of known categories."""
    record: dict[str, float | str] = {}
    for column in table.columns:
        if isinstance(column, CategoryColumn):
            record[column.name] = str(generator.choice(column.values))
            continue
        value = column.mean + column.std * float(generator.standard_normal())
        record[column.name] = float(np.expm1(value)) if column.log else value
    return record
