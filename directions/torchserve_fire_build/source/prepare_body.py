"""From the body of a request to what the model takes, by an archive's own handler."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from torchserve_fire.errors import FireError, ModelError, first_line
from torchserve_fire.model.request_body import as_handed_over
from torchserve_fire.repair.layers import device_of

from .recorded_call import record_calls
from .worker_handler import WorkerHandler


class BodyPreparer:
    """Has a handler prepare the bodies of requests.

    Args:
        handler: that was started.
        model: what it predicts with.
    """

    def __init__(self, handler: WorkerHandler, model: nn.Module) -> None:
        self._handler = handler
        self._model = model
        self._parameter: str | None = None
        self._by_preprocess: bool | None = None

    @property
    def parameter(self) -> str:
        """The parameter of a request in which the handler looks for the body: `body` or `data`."""
        return self._parameter or "body"

    def __call__(self, body: bytes, name: str) -> Tensor:
        """Return one sample as the model takes it, (*input shape).

        Args:
            body: of the request.
            name: of its file, whose suffix says whether it is JSON or text.

        Raises:
            ModelError: the handler fails on it, or does something that cannot be followed.
        """
        value = self._handed_over(body, name)
        if self._by_preprocess is None:
            return self._first(value)
        if self._by_preprocess:
            prepared = self._preprocess(value)
            if prepared is not None and prepared.dim() > 1 and len(prepared) == 1:
                return prepared[0]
        return self._by_whole_pass(value, self.parameter)

    def _handed_over(self, body: bytes, name: str) -> Any:
        try:
            return as_handed_over(body, name)
        except ValueError as error:
            raise ModelError(f"is not what its name says: {first_line(error)}") from None

    def _first(self, value: Any) -> Tensor:
        """Find out which parameter the handler reads, and whether `preprocess` is all it does."""
        failures: list[FireError] = []
        for parameter in ("body", "data"):
            try:
                sample = self._by_whole_pass(value, parameter)
            except FireError as error:
                failures.append(error)
                continue
            self._parameter = parameter
            prepared = self._preprocess(value)
            self._by_preprocess = (
                prepared is not None
                and prepared.shape == (1, *sample.shape)
                and torch.equal(prepared[0], sample)
            )
            return sample
        # A handler that takes either says the same twice.
        raise failures[0]

    def _by_whole_pass(self, value: Any, parameter: str) -> Tensor:
        """Return what the model is called with while the handler answers a request."""
        with record_calls(self._model) as calls:
            try:
                self._handler.answer({parameter: value})
            except FireError:
                raise
            except Exception as error:
                raise ModelError(f"the handler fails on it: {first_line(error)}") from error
        return calls.only_input(1).cpu()[0]

    def _preprocess(self, value: Any) -> Tensor | None:
        try:
            prepared = self._handler.prepare([{self.parameter: value}])
        except Exception:  # It has none, or it needs what `handle` does besides.
            return None
        return prepared.cpu() if isinstance(prepared, Tensor) else None

    def check_positional(self, sample: Tensor, body: bytes, name: str) -> None:
        """Refuse a model that predicts something else from the sample alone.

        Args:
            sample: as the handler prepared it.
            body: that it was prepared from.
            name: of its file.

        Raises:
            ModelError: the handler's other arguments, such as a mask, change the prediction.
        """
        with record_calls(self._model) as calls:
            self._handler.answer({self.parameter: self._handed_over(body, name)})
        try:
            with torch.no_grad():
                alone = self._model(sample[None].to(device_of(self._model)))
        except Exception as error:
            raise ModelError(
                f"the model does not take the one tensor alone that the handler calls it with: "
                f"{first_line(error)}"
            ) from error
        ours, theirs = _tensors(alone), _tensors(calls.outputs[0])
        same = len(ours) == len(theirs) and all(
            one.shape == other.shape and torch.allclose(one, other, rtol=1e-3, atol=1e-4)
            for one, other in zip(ours, theirs, strict=True)
        )
        if not same:
            raise ModelError(
                "the model predicts something else from the tensor alone than with the other "
                "arguments that the handler gives it: wrap it in a torch.nn.Module whose forward "
                "takes one tensor"
            )


def _tensors(output: Any) -> list[Tensor]:
    """Return the floating point tensors at the top of a model's output."""
    if isinstance(output, Tensor):
        return [output]
    values = output.values() if hasattr(output, "values") else output
    return [value for value in values if isinstance(value, Tensor) and value.is_floating_point()]
