"""From the bodies of requests to samples, to logits, to the likeliest classes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..format.bundle import InputDescription
from ..model.config import HandlerConfig
from ..model.preprocess import kept_body, read_body
from ..model.request_body import RequestBody
from ..repair.layers import in_precision_of
from ..repair.logits import find_logits
from ..repair.output_kind import gives_probabilities
from .answering import Refusal
from .open_inference import infer_input

logger = logging.getLogger(__name__)

Item = Tensor | InputError
"""One request on its way: its sample, then its logits; or why it gets no answer."""


@dataclass(frozen=True)
class Classifier:
    """A model, and how it is asked.

    Attributes:
        model: in evaluation mode, on its device.
        device: the model's.
        config: the settings.
        described: what the model takes.
    """

    model: nn.Module
    device: torch.device
    config: HandlerConfig
    described: InputDescription

    def read(self, body: Any, request: Mapping[str, Any] | None = None) -> Item:
        """Return the sample in a request's body, or why there is none.

        Args:
            body: of the request.
            request: what `infer_request` found in it, if anything.
        """
        try:
            return read_sample(self._body(body, request), self.described, self.config)
        except InputError as error:
            return error

    def to_keep(
        self, item: Item, body: Any, request: Mapping[str, Any] | None = None
    ) -> Tensor | RequestBody:
        """Return what a quarantine keeps of a request that was read.

        Args:
            item: its sample.
            body: of the request.
            request: what `infer_request` found in it, if anything.

        Raises:
            InputError: there was no sample in it.
        """
        if isinstance(item, InputError):
            raise item
        return kept_sample(item, lambda: self._body(body, request), self.described, self.config)

    def _body(self, body: Any, request: Mapping[str, Any] | None) -> Any:
        return body if request is None else infer_input(request, self.described)

    def predict(self, items: Sequence[Item]) -> list[Item]:
        """Return the logits of samples, as `predict_samples` does."""
        return predict_samples(self.model, items, self.device)


def read_sample(body: Any, description: InputDescription, config: HandlerConfig) -> Tensor:
    """Return a request's sample.

    Args:
        body: as `read_body` takes it.
        description: what the model takes.
        config: the settings, which may limit integers, and name columns beside the model's.

    Raises:
        InputError: there is none in it.
    """
    sample = read_body(body, description, config.columns_beside)
    integers_below = config.integers_below
    # In the forward pass it would fail the whole batch.
    if integers_below is not None and not bool(((sample >= 0) & (sample < integers_below)).all()):
        raise InputError(f"expected integers from 0 to {integers_below - 1}", reason="range")
    return sample


def kept_sample(
    sample: Tensor, body: Callable[[], Any], description: InputDescription, config: HandlerConfig
) -> Tensor | RequestBody:
    """Return what a quarantine keeps of a request: its sample, or of a table the row as it was.

    Args:
        sample: of the request.
        body: returns what it was read from.
        description: what the model takes.
        config: the settings.
    """
    if description.table is None:
        return sample
    return kept_body(body(), description.table, config.columns_beside)


def predict_samples(model: Any, items: Sequence[Item], device: torch.device) -> list[Item]:
    """Predict the readable samples of a batch in one forward pass; none where there are none.

    Args:
        model: on its device.
        items: of each request its sample.
        device: the model's.

    Returns:
        Of each request its logits, (classes,) float32 on the CPU, or why there are none.
    """
    predicted = samples_in(items)
    answers = list(items)
    if not predicted:
        return answers
    batch = torch.stack([item for item in items if isinstance(item, Tensor)]).to(device)
    with torch.inference_mode():
        logits = find_logits(model(in_precision_of(model, batch)), len(batch)).float().cpu()
        finite = torch.isfinite(logits).all(1).tolist()
    for position, row, usable in zip(predicted, logits, finite, strict=True):
        answers[position] = (
            row
            if usable
            else InputError("the model has no finite answer to this input", 422, "not finite")
        )
    return answers


def samples_in(items: Sequence[Item]) -> list[int]:
    """Return the places of the requests that have samples."""
    return [i for i, item in enumerate(items) if isinstance(item, Tensor)]


def outputs_are_probabilities(
    model: Any, described: InputDescription, integers_below: int | None
) -> bool:
    """Whether a model gives probabilities in the place of logits; the log says so.

    Args:
        model: on its device.
        described: what it takes.
        integers_below: of integers, one above the largest; None for any.

    Raises:
        ModelError: it gives something in which no logits are found.
    """
    found = gives_probabilities(model, described, integers_below)
    if found:
        logger.info("torchserve-fire: the model's outputs are probabilities, served as such")
    return found


def answers_to(
    items: Sequence[Item], topk: int, names: Mapping[str, str], *, probabilities: bool
) -> list[dict[str, float] | Refusal]:
    """Return of each request its likeliest classes with their probabilities, or why it has none.

    Args:
        items: of each request its logits, (classes,) float32.
        topk: how many classes.
        names: of the classes, by their indices; the index of one that has no name.
        probabilities: whether the logits are probabilities already.
    """
    logits = [item for item in items if isinstance(item, Tensor)]
    ranked = iter(_likeliest(torch.stack(logits), topk, names, probabilities) if logits else ())
    return [
        Refusal(item.status, "InputError", str(item), item.reason)
        if isinstance(item, InputError)
        else next(ranked)
        for item in items
    ]


def _likeliest(
    logits: Tensor, topk: int, names: Mapping[str, str], probabilities: bool
) -> list[dict[str, float]]:
    every = logits if probabilities else logits.softmax(1)
    values, classes = every.topk(min(topk, logits.shape[1]))
    answers = []
    for indices, shares in zip(classes.tolist(), values.tolist(), strict=True):
        answer: dict[str, float] = {}
        for index, share in zip(indices, shares, strict=True):
            # Of classes that share a name, the likeliest counts.
            answer.setdefault(names.get(str(index), str(index)), share)
        answers.append(answer)
    return answers
