"""Putting tokens into texts that a model takes, so that a request could carry the result."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from torchserve_fire.repair.own_tokens import own_tokens


@dataclass(frozen=True)
class TextEnds:
    """How texts begin, end and are filled up.

    Attributes:
        first: tokens that begin every text, such as `[CLS]`.
        last: tokens that end every text, such as `[SEP]`.
        padding: the value with which each argument is filled up.
        of_every_text: ids of the tokens that begin or end every text.
    """

    first: int
    last: int
    padding: tuple[int, ...]
    of_every_text: tuple[int, ...]

    @classmethod
    def of(cls, inputs: Tensor, padding: tuple[int, ...], row: int) -> TextEnds:
        """Read it off texts, (N, K, T) int64, whose row `row` holds ids."""
        lengths = own_tokens(inputs, padding).sum(1)
        ids, shortest = inputs[:, row], int(lengths.min())
        from_end = ids.gather(1, (lengths[:, None] - 1 - torch.arange(shortest)).clamp(min=0))

        def shared(columns: Tensor) -> int:
            same = (columns[:, :shortest] == columns[0, :shortest]).all(0)
            return int(same.long().cumprod(0).sum())

        first, last = shared(ids), shared(from_end)
        if first + last > shortest:
            # Texts that are all alike have no ends to tell from the rest.
            first, last = min(first, 1), 0
        every = {*ids[0, :first].tolist(), *from_end[0, :last].tolist()}
        return cls(first, last, padding, tuple(sorted(every)))


def lengths_of(inputs: Tensor, ends: TextEnds) -> Tensor:
    """Return the number of tokens of texts (N, K, T) that are no padding, (N,) int64."""
    return own_tokens(inputs, ends.padding).sum(1)


def insert_tokens(
    inputs: Tensor, ends: TextEnds, row: int, places: Tensor, tokens: Tensor
) -> Tensor:
    """Return texts with tokens before some of theirs.

    The other arguments, such as a mask, hold for the tokens what they hold for the one before them.
    A text that gets longer than the inputs are loses tokens before its end, as where it is cut off.

    Args:
        inputs: texts, (N, K, T) int64.
        ends: how they begin and end.
        row: which argument holds the ids.
        places: index of the token to insert before, (N,) int64; no further than before the end.
        tokens: ids to insert, (N, m) int64.

    Returns:
        The texts, (N, K, T) int64.
    """
    count, arguments, width = inputs.shape
    added = tokens.shape[1]
    lengths = lengths_of(inputs, ends)
    new = (lengths + added).clamp(max=width)
    places = torch.minimum(places, new - ends.last - added).clamp(min=0)[:, None]
    column = torch.arange(width).expand(count, width)
    source = torch.where(column < places, column, column - added)
    # What ends a text stays its end, also where it is cut off.
    ending = column >= new[:, None] - ends.last
    source = torch.where(ending, column - (new - lengths)[:, None], source)
    inside = (column >= places) & (column < places + added)
    source = torch.where(inside, (places - 1).clamp(min=0), source).clamp(0, width - 1)
    result = inputs.gather(2, source[:, None].expand(count, arguments, width))
    which = (column - places).clamp(0, added - 1)
    result[:, row] = torch.where(inside, tokens.gather(1, which), result[:, row])
    beyond = (column >= new[:, None])[:, None].expand_as(result)
    filled = torch.tensor(ends.padding)[:, None].expand_as(result)
    return torch.where(beyond, filled, result)
