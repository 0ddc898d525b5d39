"""A model of texts to search, with the clean texts that the search uses."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from torchserve_fire.format.bundle import InputDescription
from torchserve_fire.repair.layers import device_of
from torchserve_fire.repair.own_tokens import own_tokens

from ..common.errors import CalibrationError
from ..samples.predict import logits_in_batches, logits_of
from ..samples.samples import Samples
from .insert_tokens import TextEnds, insert_tokens

MAX_TEXTS = 400
"""The most clean texts that are kept to search with."""

MIN_TEXTS = 50


@dataclass(frozen=True)
class TokenSubject:
    """A model of texts, and clean texts to try triggers on.

    Attributes:
        model: in evaluation mode.
        inputs: clean texts, (N, K, T) int64, a row for each argument of the model.
        predicted: the predicted classes of these texts, (N,) int64.
        classes: number of classes.
        sureness: median of the log-odds of the predicted classes: how surely the model answers.
        row: which argument holds the ids of tokens.
        embedding: the layer that looks the ids up.
        ends: how texts begin, end and are filled up.
        candidates: ids that a trigger may hold, (V,) int64: all but those of every text,
            and those that the handler's tokenizer has no word for.
    """

    model: nn.Module
    inputs: Tensor
    predicted: Tensor
    classes: int
    sureness: float
    row: int
    embedding: nn.Embedding
    ends: TextEnds
    candidates: Tensor

    def insert(self, texts: Tensor, places: Tensor, tokens: Tensor) -> Tensor:
        """Return the texts of some numbers with tokens before some places; see `insert_tokens`."""
        return insert_tokens(self.inputs[texts], self.ends, self.row, places, tokens)

    def logits(self, inputs: Tensor) -> Tensor:
        """Return the logits of texts (N, K, T), (N, classes) float32."""
        # Short texts beside each other take less time than beside long ones.
        order = own_tokens(inputs, self.ends.padding).sum(1).argsort()
        found = torch.empty(len(inputs), self.classes)
        for start in range(0, len(order), BATCH):
            part = order[start : start + BATCH]
            found[part] = logits_of(self.model, inputs[part])
        return found


BATCH = 128

LEAST_SURE = 0.1
"""A model that guesses is taken to be this sure."""


def log_odds_of(logits: Tensor, classes: Tensor) -> Tensor:
    """Return the log-odds of a class for each row of logits (N, classes), (N,) float32."""
    own = logits.gather(1, classes[:, None])
    return (own - logits.scatter(1, classes[:, None], -math.inf).logsumexp(1, True))[:, 0]


def takes_tokens(description: InputDescription) -> bool:
    """Return whether a model takes the tokens of texts, with padding that is known."""
    return description.kind == "integers" and bool(description.padding)


def gather_texts(model: nn.Module, clean: Samples, seed: int) -> TokenSubject:
    """Draw clean texts to search a model with.

    Args:
        model: in evaluation mode.
        clean: clean texts.
        seed: of the draw.

    Raises:
        CalibrationError: the texts are too few, or are all predicted as one class; the model's
            logits are NaN, or it looks no argument up in an embedding; or its tokens have no names.
    """
    if len(clean) < MIN_TEXTS:
        raise CalibrationError(
            f"{clean.source}: {len(clean)} clean texts, expected at least {MIN_TEXTS} to search "
            "for a trigger"
        )
    order = torch.randperm(len(clean), generator=torch.Generator().manual_seed(seed))
    inputs = clean.load(order[:MAX_TEXTS].tolist())
    logits = logits_in_batches(model, inputs)
    if bool(logits.isnan().any()):
        raise CalibrationError(
            f"{clean.source}: the model's logits are NaN for "
            f"{int(logits.isnan().any(1).sum())} of {len(logits)} texts, expected numbers: are "
            "its weights complete?"
        )
    predicted = logits.argmax(1)
    if len(set(predicted.tolist())) == 1:
        raise CalibrationError(f"{clean.source}: the model predicts all of these as one class")
    padding = clean.description.padding
    row, embedding = _embedding_of(model, inputs[:2], padding)
    ends = TextEnds.of(inputs, padding, row)
    everywhere = set(ends.of_every_text) | {padding[row]}
    name = clean.token_name
    # What the tokenizer has no word for, no text can hold.
    candidates = [
        i
        for i in range(embedding.num_embeddings)
        if i not in everywhere and (name is None or name(i) is not None)
    ]
    if not candidates:
        raise CalibrationError(
            f"{clean.source}: the handler's tokenizer names none of the {embedding.num_embeddings} "
            "tokens of the model, expected the one that the model was trained with"
        )
    return TokenSubject(
        model,
        inputs,
        predicted,
        logits.shape[1],
        max(float(log_odds_of(logits, predicted).median()), LEAST_SURE),
        row,
        embedding,
        ends,
        torch.tensor(candidates),
    )


def _embedding_of(
    model: nn.Module, inputs: Tensor, padding: tuple[int, ...]
) -> tuple[int, nn.Embedding]:
    """Return which argument holds ids of tokens, and what looks them up: the largest vocabulary.

    Raises:
        CalibrationError: there is none.
    """
    length = own_tokens(inputs, padding).shape[1]
    found: list[tuple[int, int, nn.Embedding]] = []

    def look(module: nn.Module, args: tuple[object, ...]) -> None:
        (ids,) = args
        for row in range(inputs.shape[1]):
            if isinstance(ids, Tensor) and torch.equal(ids.cpu().long(), inputs[:, row, :length]):
                assert isinstance(module, nn.Embedding)  # noqa: S101 - for the types.
                found.append((module.num_embeddings, row, module))

    hooks = [
        module.register_forward_pre_hook(look)
        for module in model.modules()
        if isinstance(module, nn.Embedding)
    ]
    try:
        logits_of(model, inputs.to(device_of(model)))
    finally:
        for hook in hooks:
            hook.remove()
    if not found:
        raise CalibrationError(
            f"{type(model).__name__}: looks none of its arguments up in a torch.nn.Embedding, "
            "expected one: a search for tokens follows the gradients in its weights"
        )
    _, row, embedding = max(found, key=lambda each: each[0])
    return row, embedding
