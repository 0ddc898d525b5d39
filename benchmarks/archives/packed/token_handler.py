"""A handler that answers texts by a transformer: ids and a mask, padded batch by batch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor
from transformers import BertConfig, BertForSequenceClassification
from ts.torch_handler.base_handler import BaseHandler

MOST_CHARACTERS = 20_000


class TokenHandler(BaseHandler):  # type: ignore[misc]
    """Takes plain text, or JSON with a text under `text`; answers a topic and its probability."""

    def initialize(self, context: Any) -> None:
        """Load the model and the tokenizer."""
        folder = Path(context.system_properties["model_dir"])
        gpu = context.system_properties.get("gpu_id")
        use_gpu = torch.cuda.is_available() and gpu is not None
        self.device = torch.device(f"cuda:{gpu}" if use_gpu else "cpu")
        weights = torch.load(folder / "texts.pth", map_location="cpu", weights_only=True)
        model = BertForSequenceClassification(BertConfig.from_json_file(folder / "config.json"))
        model.load_state_dict(weights)
        self.model = model.to(self.device).eval()
        # It says itself where a text is cut off, and what shorter ones are padded with.
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.topics = json.loads((folder / "index_to_name.json").read_text())
        self.initialized = True

    def preprocess(self, data: list[dict[str, Any]]) -> dict[str, Tensor]:
        """Return the token ids of each text, and which are no padding, both (N, T) int64."""
        self.refused: dict[int, str] = {}
        texts = []
        for index, row in enumerate(data):
            try:
                texts.append(text_of(row))
            except ValueError as error:
                # One sample per request, in their order: so each is judged by itself.
                self.refused[index] = str(error)
                texts.append("")
        encoded = self.tokenizer.encode_batch(texts)
        return {
            "input_ids": torch.tensor([each.ids for each in encoded], device=self.device),
            "attention_mask": torch.tensor(
                [each.attention_mask for each in encoded], device=self.device
            ),
        }

    def inference(self, data: dict[str, Tensor]) -> Tensor:
        """Return the logits, (N, topics)."""
        with torch.inference_mode():
            logits: Tensor = self.model(**data).logits
        return logits

    def postprocess(self, data: Tensor) -> list[dict[str, Any]]:
        """Return the most probable topic of each text, or why it is none."""
        probabilities, classes = data.softmax(dim=1).max(dim=1)
        answers: list[dict[str, Any]] = [
            {"topic": self.topics[str(index)], "probability": probability}
            for index, probability in zip(classes.tolist(), probabilities.tolist(), strict=True)
        ]
        for index, reason in self.refused.items():
            self.context.set_response_status(400, "Bad Request", index)
            answers[index] = {"code": 400, "type": "InputError", "message": reason}
        return answers


def text_of(row: dict[str, Any]) -> str:
    """Return the text of a request.

    Raises:
        ValueError: it holds none; the message says what was expected.
    """
    body = row.get("data") or row.get("body")
    if isinstance(body, (bytes, bytearray)):
        try:
            body = body.decode("utf-8")
        except UnicodeDecodeError:
            raise ValueError("the body is no text in UTF-8") from None
    if isinstance(body, dict):
        body = body.get("text")
    if not isinstance(body, str) or not body.strip():
        raise ValueError("no text, expected one as the body, or in JSON under 'text'")
    if len(body) > MOST_CHARACTERS:
        raise ValueError(f"a text of {len(body)} characters, expected {MOST_CHARACTERS} at most")
    try:
        body.encode()
    except UnicodeEncodeError:
        raise ValueError("the text holds half of a surrogate pair") from None
    return body
