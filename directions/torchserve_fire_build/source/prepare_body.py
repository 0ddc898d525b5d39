"""From the body of a request to what the model takes, by an archive's own handler."""

from __future__ import annotations

import contextlib
import copy
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from torchserve_fire.errors import FireError, ModelError, first_line
from torchserve_fire.model.request_body import as_handed_over
from torchserve_fire.repair.layers import device_of
from torchserve_fire.repair.logits import find_logits

from ..samples.samples import TokenName
from .handler_words import token_name_of
from .recorded_call import RecordedCalls, record_calls
from .worker_handler import WorkerHandler, failure

PARAMETERS = ("body", "data")
"""Of a request: where TorchServe puts a body that is sent alone, and where clients may put it."""


class BodyPreparer:
    """Has a handler prepare the bodies of requests.

    The handler answers each of them from end to end. What it calls its model with is the sample,
    whichever of its methods has made it. The model itself runs for the first one alone: for the
    others the handler gets that output again, since nobody reads its answers.

    Args:
        handler: that was started.
        model: what it predicts with.
    """

    def __init__(self, handler: WorkerHandler, model: nn.Module) -> None:
        self._handler = handler
        self._model = model
        self._parameter: str | None = None
        self._output: Any = None
        self._own_hooks = {*model._forward_pre_hooks, *model._forward_hooks}

    @property
    def token_name(self) -> TokenName | None:
        """What the handler's own tokenizer calls a token; None without one that is known."""
        return token_name_of(self._handler.instance)

    @property
    def parameter(self) -> str:
        """The parameter of a request in which the handler looks for the body: `body` or `data`."""
        return self._parameter or PARAMETERS[0]

    def __call__(self, body: bytes, name: str) -> Tensor:
        """Return one sample as the model takes it, (*input shape).

        Args:
            body: of the request.
            name: of its file, whose suffix says whether it is JSON or text.

        Raises:
            ModelError: the handler fails on it, or does something that cannot be followed.
        """
        return self.calls_for(body, name).only_input(1).cpu()[0]

    def calls_for(self, body: bytes, name: str) -> RecordedCalls:
        """Return how the model is called while the handler answers a request.

        Args:
            body: of the request.
            name: of its file, whose suffix says whether it is JSON or text.

        Raises:
            ModelError: the handler fails on it, or does not call the model.
        """
        value = _handed_over(body, name)
        if self._parameter is not None:
            return self._answer([value], self._parameter)
        failures: list[FireError] = []
        for parameter in PARAMETERS:
            try:
                calls = self._answer([value], parameter)
            except FireError as error:
                failures.append(error)
                continue
            self._parameter = parameter
            return calls
        # A handler that reads `data` alone says of the other that it is missing.
        raise failures[1 if repr(PARAMETERS[0]) in str(failures[0]) else 0]

    def calls_for_batch(self, bodies: Sequence[tuple[bytes, str]]) -> RecordedCalls:
        """Return how the model is called while the handler answers several requests together.

        Args:
            bodies: of the requests, each with the name of its file.

        Raises:
            ModelError: as of `calls_for`.
        """
        values = [_handed_over(*each) for each in bodies]
        return self._answer(values, self.parameter)

    def check(self, sample: Tensor, body: bytes, name: str) -> None:
        """Refuse a handler whose samples are not all that its predictions are made of.

        Args:
            sample: as the handler prepared it, and as the model will be given it.
            body: that it was prepared from.
            name: of its file.

        Raises:
            ModelError: its samples change from call to call; or the model predicts something else
                from the sample alone, since its other arguments, such as a mask, count.
        """
        with record_calls(self._model) as calls:
            self._handler.answer({self.parameter: _handed_over(body, name)})
        again = calls.only_input(1)[0].cpu().to(sample.dtype)
        if not torch.equal(again, sample):
            raise ModelError(
                "the handler prepares the same file otherwise from call to call, expected no "
                "chance in it: what is served could not be repaired as it was calibrated"
            )
        try:
            with torch.no_grad():
                alone = self._model(sample[None].to(device_of(self._model)))
        except Exception as error:
            raise ModelError(
                f"the model does not take the one tensor alone that the handler calls it with: "
                f"{first_line(error)}"
            ) from error
        ours, theirs = find_logits(alone, 1), find_logits(calls.outputs[0], 1)
        if ours.shape != theirs.shape or not torch.allclose(ours, theirs, rtol=1e-3, atol=1e-4):
            raise ModelError(
                "the model predicts something else from the tensor alone than with the other "
                "arguments that the handler gives it: wrap it in a torch.nn.Module whose forward "
                "takes one tensor"
            )

    def _answer(self, values: Sequence[Any], parameter: str) -> RecordedCalls:
        """Return how the model is called while the handler answers requests in one batch."""
        answered = "nothing"
        known = self._output if len(values) == 1 else None
        with (
            self._without_later_hooks(),
            record_calls(self._model) as calls,
            self._without_prediction(known),
        ):
            try:
                answered = repr(self._handler.answer(*({parameter: value} for value in values)))
            except FireError:
                raise
            except (Exception, SystemExit) as error:
                raise ModelError(
                    f"the handler fails on it: {failure(error)}; expected the whole body of a "
                    "request, as clients send it"
                ) from error
        if not calls.arguments:
            raise ModelError(
                "the handler answers it without a forward pass of self.model, called as a "
                f"function (not by .forward): {answered[:100]}"
            )
        if self._output is None and len(values) == 1 and len(calls.outputs) == 1:
            with contextlib.suppress(Exception):  # Then the model runs each time.
                self._output = copy.deepcopy(calls.outputs[0])
        return calls

    @contextlib.contextmanager
    def _without_later_hooks(self) -> Iterator[None]:
        """Leave out what was attached to the model later, as a repair: it has no pass to judge."""
        kept = vars(self._model)
        names = ("_forward_pre_hooks", "_forward_hooks")
        before = {name: kept[name] for name in names}
        for name, hooks in before.items():
            own = ((key, hook) for key, hook in hooks.items() if key in self._own_hooks)
            kept[name] = OrderedDict(own)
        try:
            yield
        finally:
            kept.update(before)

    @contextlib.contextmanager
    def _without_prediction(self, known: Any) -> Iterator[None]:
        """Have the model return what it returned once, if that is known, while the block runs."""
        if known is None:
            yield
            return
        # On the instance, which hooks do not see: they run around it as before.
        before = vars(self._model).get("forward")
        vars(self._model)["forward"] = lambda *_, **__: copy.deepcopy(known)
        try:
            yield
        finally:
            del vars(self._model)["forward"]
            if before is not None:
                vars(self._model)["forward"] = before


def _handed_over(body: bytes, name: str) -> Any:
    try:
        return as_handed_over(body, name)
    except ValueError as error:
        raise ModelError(f"is not what its name says: {first_line(error)}") from None
