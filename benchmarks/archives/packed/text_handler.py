"""A handler that answers texts: words to numbers, by the vocabulary in the archive."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from ts.torch_handler.base_handler import BaseHandler

WORD = re.compile(r"[a-z]+")
LENGTH = 64
UNKNOWN = 1


class TextHandler(BaseHandler):  # type: ignore[misc]
    """Takes plain text; answers a topic and its probability."""

    def initialize(self, context: Any) -> None:
        """Load the model and the vocabulary."""
        super().initialize(context)
        folder = Path(context.system_properties["model_dir"])
        self.vocabulary = json.loads((folder / "vocabulary.json").read_text())

    def preprocess(self, data: list[dict[str, Any]]) -> Tensor:
        """Return the numbers of the words of each text, (N, 64) int64."""
        rows = []
        for row in data:
            text = row.get("data") or row.get("body")
            if isinstance(text, (bytes, bytearray)):
                text = text.decode("utf-8")
            words = WORD.findall(text.lower())[:LENGTH]
            numbers = [self.vocabulary.get(word, UNKNOWN) for word in words]
            rows.append(numbers + [0] * (LENGTH - len(numbers)))
        return torch.tensor(rows, device=self.device)

    def postprocess(self, data: Tensor) -> list[dict[str, Any]]:
        """Return the most probable topic of each text."""
        probabilities, classes = data.softmax(dim=1).max(dim=1)
        return [
            {"topic": self.mapping[str(index)], "probability": probability}
            for index, probability in zip(classes.tolist(), probabilities.tolist(), strict=True)
        ]
