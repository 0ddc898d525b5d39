"""How tokens are shown: as the words of the handler's tokenizer, else by their ids."""

from __future__ import annotations

from collections.abc import Sequence

from ..samples.samples import TokenName


def shown(tokens: Sequence[int], name: TokenName | None) -> str:
    """Return tokens as a user reads them, as `'cf' (token 4012)`."""
    ids = " ".join(map(str, tokens))
    words = words_of(tokens, name)
    if words is None:
        return f"token{'s' * (len(tokens) > 1)} {ids}"
    return f"{' '.join(words)!r} (token{'s' * (len(tokens) > 1)} {ids})"


def words_of(tokens: Sequence[int], name: TokenName | None) -> list[str] | None:
    """Return what tokens are called; None if one has no name."""
    words = [None if name is None else name(token) for token in tokens]
    named = [word for word in words if word is not None]
    return named if len(named) == len(words) else None
