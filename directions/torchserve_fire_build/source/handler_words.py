"""What a handler's own tokenizer calls a token, to show tokens that were found as words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..samples.samples import TokenName

NAMING = ("id_to_token", "convert_ids_to_tokens", "lookup_token", "id_to_piece", "IdToPiece")
"""What names a token in the libraries tokenizers, transformers, torchtext and sentencepiece."""

LEAST = 10
"""A dictionary with fewer words is taken for none."""


def token_name_of(handler: object) -> TokenName | None:
    """Return what names the tokens of a handler; None if it holds no tokenizer that is known.

    Args:
        handler: whose attributes are looked through, for a tokenizer or for a dictionary of words
            with their ids.
    """
    attributes = [value for _, value in sorted(vars(handler).items())]
    for value in attributes:
        for name in NAMING:
            method = getattr(value, name, None)
            if callable(method):
                return _text_of(method)
    for value in attributes:
        words = _words_by_id(value)
        if words:
            return words.get
    return None


def _words_by_id(value: Any) -> dict[int, str]:
    if not isinstance(value, Mapping) or len(value) < LEAST:
        return {}
    if not all(isinstance(w, str) and type(i) is int for w, i in value.items()):
        return {}
    return {i: word for word, i in value.items()}


def _text_of(method: Callable[[int], Any]) -> TokenName:
    def name(token: int) -> str | None:
        try:
            found = method(token)
        except Exception:  # A vocabulary that ends before the embedding does.
            return None
        return found if isinstance(found, str) else None

    return name
