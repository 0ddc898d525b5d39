"""Texts that an archive's own handler makes tokens of, as it makes them of requests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from torchserve_fire.errors import FireError, ModelError

from ..common.errors import SamplesError
from ..samples.predict import logits_of
from ..samples.request_bodies import RequestBodies
from ..samples.token_samples import TokenSamples
from .handler_samples import prepare_body
from .prepare_body import BodyPreparer
from .recorded_call import RecordedCalls
from .token_arguments import TokenArguments, padding_by_mask, padding_in_batch


class HandlerTexts:
    """How a handler calls its model with texts of different lengths.

    Args:
        prepare: by the handler.
        arguments: of the model; from now on the model takes samples that are packed by them, too.
        model: the handler's.
    """

    def __init__(self, prepare: BodyPreparer, arguments: TokenArguments, model: nn.Module) -> None:
        self._prepare = prepare
        self._arguments = arguments
        self._model = model
        self._opened: list[TokenSamples] = []
        arguments.attach(model)

    @classmethod
    def found(
        cls, bodies: RequestBodies, prepare: BodyPreparer, model: nn.Module
    ) -> HandlerTexts | None:
        """Find out how a handler calls its model, by what it does with these bodies.

        Returns:
            None if the model takes one tensor that has the same length for each of them.

        Raises:
            SamplesError: it cannot be followed, or padding counts in what the model predicts.
        """
        calls = prepare_body(bodies, 0, prepare.calls_for)
        try:
            arguments = TokenArguments.of(calls)
        except ModelError as error:
            raise SamplesError(f"{bodies.place(0)}: {error}") from None
        tokens = _tokens_of(bodies, prepare, arguments)
        lengths = [each.shape[1] for each in tokens]
        short, long = lengths.index(min(lengths)), lengths.index(max(lengths))
        try:
            if lengths[short] < lengths[long]:
                contents = [bodies.body(i) for i in (short, long)]
                both = prepare.calls_for_batch([(b.content, f"body{b.suffix}") for b in contents])
                packed = arguments.pack(both, 2)
                padding = padding_in_batch(tokens[short], tokens[long], packed)
            elif len(arguments.names) == 1:
                return None
            else:
                padding = padding_by_mask(tokens)
        except FireError as error:
            raise SamplesError(
                f"{bodies.place(short)}, beside {bodies.place(long)}: {error}"
            ) from None
        texts = cls(prepare, replace(arguments, padding=padding), model)
        texts._check(bodies, short, tokens)
        return texts

    def describe(self) -> str:
        """Return a line that says what the model is called with."""
        named = zip(self._arguments.names, self._arguments.padding, strict=True)
        padded = ", ".join(f"{name} with {value}" for name, value in named)
        return (
            f"the handler makes tokens of texts, and pads them on the right ({padded}): "
            "triggers are repaired in features alone, and padding does not count"
        )

    def open(self, bodies: RequestBodies) -> TokenSamples:
        """Have the handler prepare bodies, all of which are kept in memory as tokens.

        Raises:
            SamplesError: a body cannot be read, or the handler fails on it or calls its model
                otherwise.
        """
        samples = TokenSamples(
            bodies.source,
            bodies.names,
            _tokens_of(bodies, self._prepare, self._arguments),
            self._arguments.padding,
            bodies.body,
            class_names=bodies.class_names,
            labels=bodies.labels,
            numbered=bodies.numbered,
        )
        samples.token_name = self._prepare.token_name
        # All that are opened fit beside each other.
        self._opened.append(samples)
        for each in self._opened:
            each.lengthen(max(opened.length for opened in self._opened))
        return samples

    def _check(self, bodies: RequestBodies, index: int, tokens: Sequence[Tensor]) -> None:
        """Refuse a model that predicts otherwise from packed samples, or beside longer ones."""
        calls = prepare_body(bodies, index, self._prepare.calls_for)
        if not torch.equal(self._arguments.pack(calls)[0], tokens[index]):
            raise SamplesError(
                f"{bodies.place(index)}: the handler prepares the same text otherwise from call to "
                "call, expected no chance in it"
            )
        longest = max(each.shape[1] for each in tokens)
        samples = TokenSamples(
            bodies.source,
            bodies.names,
            tokens,
            self._arguments.padding,
            bodies.body,
        )
        other = next(i for i, each in enumerate(tokens) if each.shape[1] == longest)
        alone = logits_of(self._model, samples.load([index]))
        beside = logits_of(self._model, samples.load([index, other]))[:1]
        if not torch.allclose(alone, beside, rtol=1e-3, atol=1e-3):
            raise SamplesError(
                f"{bodies.place(index)}: the model predicts otherwise for it beside a longer text "
                f"({bodies.place(other)}) than alone: padding counts, so it depends on who else "
                "sends requests what is answered; expected a mask that hides padding"
            )


def may_hold_tokens(calls: RecordedCalls) -> bool:
    """Return whether a model is called with several tensors, or with a row of whole numbers."""
    if calls.has_several_tensors():
        return True
    tensors = [v for v in calls.only_call().values() if isinstance(v, Tensor)]
    return len(tensors) == 1 and tensors[0].dim() == 2 and not tensors[0].is_floating_point()


def _tokens_of(
    bodies: RequestBodies, prepare: BodyPreparer, arguments: TokenArguments
) -> list[Tensor]:
    """Return the tokens of each body, (K, t) int64."""

    def tokens(body: bytes, name: str) -> Tensor:
        return arguments.pack(prepare.calls_for(body, name))[0]

    return [prepare_body(bodies, index, tokens) for index in range(len(bodies.names))]
