"""A handler with preprocessing and answers of its own."""

from __future__ import annotations

import io
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torchvision import transforms
from torchvision.transforms import InterpolationMode
from ts.torch_handler.base_handler import BaseHandler


class LabelHandler(BaseHandler):  # type: ignore[misc]
    """Shorter side to 36, centre crop of 32, normalised; answers a label and a confidence."""

    transform = transforms.Compose(
        [
            transforms.Resize(36, InterpolationMode.BOX),
            transforms.CenterCrop(32),
            transforms.ToTensor(),
            transforms.Normalize((0.4914, 0.4822, 0.4465), (0.247, 0.243, 0.261)),
        ]
    )

    def preprocess(self, data: list[dict[str, Any]]) -> Tensor:
        """Return the images of the requests, (N, 3, 32, 32)."""
        images = []
        for row in data:
            contents = row.get("data") or row.get("body")
            image = Image.open(io.BytesIO(contents)).convert("RGB")
            images.append(self.transform(image))
        return torch.stack(images).to(self.device)

    def postprocess(self, data: Tensor) -> list[dict[str, Any]]:
        """Return the most probable class of each image, and how probable it is."""
        confidences, classes = data.softmax(dim=1).max(dim=1)
        return [
            {"label": self.mapping[str(index)], "confidence": confidence}
            for index, confidence in zip(classes.tolist(), confidences.tolist(), strict=True)
        ]
