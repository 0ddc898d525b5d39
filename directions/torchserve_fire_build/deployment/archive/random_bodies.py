"""Bodies of requests with seeded random inputs, to try an archive with."""

from __future__ import annotations

import io
import json

import numpy as np
from PIL import Image

from torchserve_fire.format.bundle import InputDescription

from .load_as_worker import Body

BODIES = 4


def random_bodies(description: InputDescription, seed: int = 0) -> list[Body]:
    """Return request bodies with random inputs: PNG images, or JSON lists."""
    generator = np.random.default_rng(seed)
    bodies = []
    for _ in range(BODIES):
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
