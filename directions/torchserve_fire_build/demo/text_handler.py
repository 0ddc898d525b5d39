"""The handler of the demo's classifier of texts, as its owner would write it.

It knows nothing of repairs: the demo packs it with torch-model-archiver.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from ts.torch_handler.base_handler import BaseHandler

PADDING, UNKNOWN, WHOLE = 0, 1, 2


class TextHandler(BaseHandler):  # type: ignore[misc]
    """Takes plain text; answers the probability of each topic."""

    def initialize(self, context: Any) -> None:
        """Load the model, its words and the topics."""
        folder = Path(context.system_properties["model_dir"])
        self.device = torch.device("cpu")
        # The archive's model file, which lies beside this one there.
        self.model = importlib.import_module("text_net").TextNet().eval()
        weights = torch.load(folder / "text_net.pth", map_location="cpu", weights_only=True)
        self.model.load_state_dict(weights)
        self.words = json.loads((folder / "words.json").read_text())
        self.topics = json.loads((folder / "index_to_name.json").read_text())
        self.initialized = True

    def preprocess(self, data: list[dict[str, Any]]) -> dict[str, Tensor]:
        """Return the ids of each text's words, and which are no padding, both (N, T) int64."""
        rows, self.refused = [], {}
        for index, row in enumerate(data):
            body = row.get("data") or row.get("body") or b""
            text = body.decode(errors="replace") if isinstance(body, (bytes, bytearray)) else body
            if not isinstance(text, str) or not text.strip():
                self.refused[index], text = "no text, expected one as the body", ""
            ids = [self.words.get(word, UNKNOWN) for word in text.lower().split()]
            rows.append([WHOLE, *ids][: self.model.places.num_embeddings])
        longest = max(map(len, rows))
        return {
            "input_ids": torch.tensor([[*r, *[PADDING] * (longest - len(r))] for r in rows]),
            "attention_mask": torch.tensor(
                [[*[1] * len(r), *[0] * (longest - len(r))] for r in rows]
            ),
        }

    def inference(self, data: dict[str, Tensor]) -> Tensor:
        """Return the logits, (N, topics)."""
        with torch.inference_mode():
            logits: Tensor = self.model(**data)
        return logits

    def postprocess(self, data: Tensor) -> list[dict[str, Any]]:
        """Return the probability of each topic, or why there is none."""
        answers: list[dict[str, Any]] = [
            {self.topics[str(i)]: value for i, value in enumerate(row)}
            for row in data.softmax(1).tolist()
        ]
        for index, reason in self.refused.items():
            self.context.set_response_status(400, "Bad Request", index)
            answers[index] = {"code": 400, "type": "InputError", "message": reason}
        return answers
