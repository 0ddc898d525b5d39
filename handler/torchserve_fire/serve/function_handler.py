"""A handler that is a function, as an object with the methods that the repair is added to."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

from torch import nn

from ..errors import ModelError


class FunctionHandler:
    """Answers by a module's function, as TorchServe calls it.

    A subclass names the function. TorchServe calls such a function with `data=None` to start it,
    and with a batch to answer it. The model is found where the function has put it.

    Attributes:
        module: where the function is defined.
        function: the entry point, `(data, context) -> answers`.
        model: what the function predicts with, once it was started.
    """

    module: ModuleType
    function: Callable[[Any, Any], Any]
    model: nn.Module

    def initialize(self, context: Any) -> None:
        """Start the function, and find its model.

        Raises:
            ModelError: it keeps none where it can be found, or several.
        """
        type(self).function(None, context)
        self.model = find_model(self.module)

    def handle(self, data: Any, context: Any) -> Any:
        """Answer a batch."""
        return type(self).function(data, context)


def find_model(module: ModuleType) -> nn.Module:
    """Return the one model that a module keeps, in a variable or as `model` of an object in one.

    Raises:
        ModelError: there is none, or there are several.
    """
    found: dict[int, nn.Module] = {}
    for value in vars(module).values():
        model = value if isinstance(value, nn.Module) else getattr(value, "model", None)
        if isinstance(model, nn.Module) and not isinstance(value, type):
            found[id(model)] = model
    if len(found) != 1:
        what = "several models" if found else "no model"
        raise ModelError(
            f"{module.__name__}.py: its function keeps {what} in the variables of the file "
            "when it was called with data=None, expected one torch.nn.Module there, or an object "
            "with it in `model`: load it then, or write the handler as a class that derives from "
            "BaseHandler"
        )
    return next(iter(found.values()))
