"""Attaching corrections to a model, and taking them off again without a trace.

One forward pass judges; what it flags is moved back in the same pass where the telling layer runs
before every repairing one, else by running the flagged samples once more. Samples that are not
flagged come out bit-identical to those of the model without corrections.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from .batch import batch_size, replace_samples, select_samples
from .bundle import Layer, Repairing
from .corrections import MeanShift, OneSidedClamp, Projection
from .errors import AttachError, RepairError
from .layers import feature_of, find_layer, is_compiled, with_feature

MODES = ("repair", "observe")


@dataclass(frozen=True)
class Verdict:
    """What was found in one forward pass.

    Attributes:
        scores: projections at the telling layer, (N,) float32; None where no layer tells.
        flagged: which samples were judged triggered, (N,) bool; all of them where no layer tells.
    """

    scores: Tensor | None
    flagged: Tensor


def build_correction(repairing: Repairing) -> nn.Module:
    """Return the module of a repairing layer's form."""
    if repairing.form == "shift":
        return MeanShift(repairing.direction, repairing.strength)
    return OneSidedClamp(
        repairing.direction,
        repairing.strength,
        threshold=_given(repairing.threshold, "threshold"),
        anchor=_given(repairing.anchor, "anchor"),
    )


class RepairHandle:
    """Corrections attached to a model; `detach` or leaving the `with` block takes them off.

    Calls of the model by several threads at once do not disturb each other. Made by `attach`.

    Attributes:
        passes: forward passes that a flagged sample costs, 1 or 2.
    """

    def __init__(
        self, model: nn.Module, layers: Sequence[Layer], target: int | None, mode: str
    ) -> None:
        self._model = model
        self._layers = layers
        self._target = target
        self._mode = mode
        self._removables: list[RemovableHandle] = []
        self._state = _State()
        self._telling: Projection | None = None
        self._only_target = False
        self.passes = 1

    @property
    def verdict(self) -> Verdict:
        """The verdict on the latest forward pass that this thread made.

        Raises:
            RepairError: this thread made none.
        """
        if self._state.verdict is None:
            raise RepairError("no forward pass was made since the corrections were attached")
        return self._state.verdict

    @property
    def passes_made(self) -> int:
        """How many forward passes this thread made; a repetition for flagged samples is none."""
        return self._state.passes_made

    def detach(self) -> None:
        """Remove the hooks, and only these; a second call does nothing."""
        for removable in self._removables:
            removable.remove()
        self._removables.clear()

    def __enter__(self) -> RepairHandle:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.detach()

    def _attach(self, device: torch.device) -> None:
        add = self._removables.append
        add(self._model.register_forward_pre_hook(self._begin, prepend=True))
        for layer in self._layers:
            module = find_layer(self._model, layer.name)
            telling = correction = None
            if layer.telling is not None:
                telling = Projection(layer.telling.weight, layer.telling.threshold).to(device)
                self._telling, self._only_target = telling, layer.telling.only_target
            if layer.repairing is not None and self._mode == "repair":
                correction = build_correction(layer.repairing).to(device)
            hook = self._layer_hook(layer, telling, correction)
            if is_compiled(self._model):
                # Traced into the graph, a hook would not write down what it found.
                hook = torch.compiler.disable(hook)  # type: ignore[no-untyped-call]
            add(module.register_forward_hook(hook))
        add(self._model.register_forward_hook(self._end, with_kwargs=True))

    def _prove(self, example: Tensor) -> None:
        """Run `example` once to see every hook fire, and once more through every correction."""
        with torch.no_grad():
            self._model(example)
            self.passes = self._count_passes()
            self._state.repeating = True
            try:
                self._model(example)
            finally:
                self._state.repeating = False
        self._state.verdict = None

    def _count_passes(self) -> int:
        """Return 1 where, in the order just seen, telling comes before all repairing, else 2."""
        position = {name: i for i, name in enumerate(self._state.order)}
        tells = [position[layer.name] for layer in self._layers if layer.telling]
        repairs = [position[layer.name] for layer in self._layers if layer.repairing]
        # The prediction that `only_target` asks for is known at the end of a pass only.
        return 2 if tells and (self._only_target or min(repairs) < tells[0]) else 1

    def _layer_hook(
        self, layer: Layer, telling: Projection | None, correction: nn.Module | None
    ) -> Callable[..., Any]:
        state = self._state

        def hook(module: nn.Module, args: Any, output: Any) -> Any:
            if state.fired is None:
                raise RepairError(
                    f"layer {layer.name!r} was run outside a forward pass of the model that its "
                    "corrections are attached to"
                )
            if layer.name in state.fired:
                raise RepairError(
                    f"layer {layer.name!r} runs several times in one forward pass: choose one "
                    "that runs once"
                )
            state.fired.append(layer.name)
            feature = feature_of(output)
            if feature is None or tuple(feature.shape[1:]) != layer.feature_shape:
                found = "no tensor" if feature is None else str(tuple(feature.shape[1:]))
                raise RepairError(
                    f"layer {layer.name!r}: features of shape {found}, "
                    f"expected {layer.feature_shape}"
                )
            if telling is not None and not state.repeating:
                state.scores = telling(feature)
            if correction is None:
                return None
            moved = self._correct(feature, correction)
            return None if moved is None else with_feature(output, moved)

        return hook

    def _correct(self, feature: Tensor, correction: nn.Module) -> Tensor | None:
        """Return the features with the flagged samples moved, None where nothing moves yet."""
        if self._telling is None or self._state.repeating:
            moved: Tensor = correction(feature)
            return moved
        if self.passes == 2 or self._state.scores is None:
            return None
        flagged = self._telling.flags(self._state.scores)
        if not bool(flagged.any()):
            return None
        mask = flagged.view((-1,) + (1,) * (feature.dim() - 1))
        return torch.where(mask, correction(feature), feature)

    def _begin(self, module: nn.Module, args: Any) -> None:
        self._state.fired = []
        if not self._state.repeating:
            self._state.scores = self._state.verdict = None

    def _end(self, module: nn.Module, args: Any, kwargs: dict[str, Any], output: Any) -> Any:
        state = self._state
        fired, state.fired = state.fired or [], None
        if missing := sorted({layer.name for layer in self._layers} - set(fired)):
            raise RepairError(
                f"layer {missing[0]!r} did not run, or its hook did not fire, in a forward pass: "
                "the input would be answered without repair"
            )
        state.order = fired
        if state.repeating:
            return None
        state.passes_made += 1
        size = batch_size((*args, *kwargs.values()))
        if self._telling is None:
            state.verdict = Verdict(None, torch.ones(size or 0, dtype=torch.bool))
            return None
        if state.scores is None or size != len(state.scores):
            raise RepairError("the telling layer does not have one feature per input sample")
        flagged = self._telling.flags(state.scores)
        if self._only_target:
            flagged = flagged & (_logits(output).argmax(1) == self._target)
        result = None
        if self.passes == 2 and self._mode == "repair" and bool(flagged.any()):
            result = self._repeat(args, kwargs, output, flagged.nonzero().flatten(), len(flagged))
        state.verdict = Verdict(state.scores, flagged)
        return result

    def _repeat(
        self, args: Any, kwargs: dict[str, Any], output: Any, index: Tensor, size: int
    ) -> Any:
        """Run the flagged samples once more, corrected, and put them in their places."""
        self._state.repeating = True
        try:
            repaired = self._model(
                *select_samples(args, index, size), **select_samples(kwargs, index, size)
            )
        finally:
            self._state.repeating = False
        return replace_samples(output, repaired, index, size)


class _State(threading.local):
    """What one thread's current forward pass has seen."""

    fired: list[str] | None = None
    order: Sequence[str] = ()
    repeating: bool = False
    passes_made: int = 0
    scores: Tensor | None = None
    verdict: Verdict | None = None


def attach(
    model: nn.Module,
    layers: Sequence[Layer],
    example: Tensor,
    *,
    target: int | None = None,
    mode: str = "repair",
) -> RepairHandle:
    """Attach the corrections of a bundle's layers to a model, and prove that they work.

    Args:
        model: in evaluation mode, on its device; its weights are not touched.
        layers: where to judge and move what.
        example: one or more inputs, (N, *input shape), for the proof; their values do not matter.
        target: the class that flagged samples must be predicted as, where a layer asks for it.
        mode: "repair", or "observe" to judge and change nothing.

    Returns:
        The handle; also a context manager.

    Raises:
        AttachError: the model is a ScriptModule or in training mode, a layer does not exist, does
            not run exactly once, or its features have another shape. Nothing stays attached.

    Example:
        >>> with attach(model, bundle.layers, torch.zeros(1, 3, 32, 32), target=0) as handle:
        ...     logits = model(images)
        ...     flagged = handle.verdict.flagged
    """
    if any(isinstance(m, torch.jit.ScriptModule) for m in model.modules()):
        raise AttachError(
            "the model is a ScriptModule, whose layers run no hooks: bring the Python model file "
            "and its state_dict instead (package --model-file net.py --serialized-file w.pth)"
        )
    if model.training:
        raise AttachError("the model is in training mode: call model.eval() first")
    if mode not in MODES:
        raise AttachError(f"mode {mode!r}, expected one of {', '.join(MODES)}")
    if mode == "observe" and not any(layer.telling for layer in layers):
        raise AttachError("mode 'observe' needs a layer that tells, and the bundle has none")
    handle = RepairHandle(model, layers, target, mode)
    try:
        handle._attach(example.device)
        handle._prove(example)
    except BaseException as error:
        handle.detach()
        if isinstance(error, Exception) and not isinstance(error, AttachError):
            reason = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
            raise AttachError(f"the corrections do not fit the model: {reason}") from error
        raise
    return handle


def _logits(output: Any) -> Tensor:
    feature = feature_of(output)
    if feature is None or feature.dim() != 2:
        raise RepairError("the model's output is not a (N, classes) tensor of logits")
    return feature


def _given(value: float | None, name: str) -> float:
    if value is None:
        raise AttachError(f"form 'clamp' needs a {name}")
    return value
