"""A small handler around a `save_pretrained` folder of transformers."""

from __future__ import annotations

import io
from typing import Any

import torch
from PIL import Image
from transformers import ViTForImageClassification, ViTImageProcessor
from ts.torch_handler.base_handler import BaseHandler


class VitHandler(BaseHandler):  # type: ignore[misc]
    """Loads model and image processor from the archive's root."""

    def initialize(self, context: Any) -> None:
        """Load both."""
        folder = context.system_properties["model_dir"]
        self.device = torch.device("cpu")
        self.processor = ViTImageProcessor.from_pretrained(folder)
        self.model = ViTForImageClassification.from_pretrained(folder).eval()
        self.initialized = True

    def preprocess(self, data: list[dict[str, Any]]) -> Any:
        """Return what the image processor makes of the images."""
        images = [
            Image.open(io.BytesIO(row.get("data") or row.get("body"))).convert("RGB")
            for row in data
        ]
        return self.processor(images=images, return_tensors="pt")

    def inference(self, data: Any, *args: Any, **kwargs: Any) -> Any:
        """Return the logits, (N, classes)."""
        with torch.inference_mode():
            return self.model(**data).logits

    def postprocess(self, data: Any) -> list[Any]:
        """Return the three most probable classes of each image, in the form of a pipeline."""
        scores, classes = data.softmax(dim=1).topk(3, dim=1)
        names = self.model.config.id2label
        return [
            [
                {"label": names[index], "score": score}
                for index, score in zip(row, of_row, strict=True)
            ]
            for row, of_row in zip(classes.tolist(), scores.tolist(), strict=True)
        ]
