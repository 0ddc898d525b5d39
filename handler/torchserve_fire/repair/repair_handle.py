"""Corrections attached to a model, for as long as they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from ..errors import AttachError, RepairError
from ..format.bundle import INPUT_LAYER, Detection, Layer, Repair
from ..format.correction_forms import Overlay
from .batch import count_samples, shared_arguments
from .corrections import Projection, build_correction
from .input_hook import InputHook
from .layer_hook import LayerHook
from .layers import find_layer, is_compiled
from .overlay import MovingProjection
from .pass_state import Attached, PassState
from .proof import prove
from .repetition import repeat_flagged
from .verdict import Judge, Verdict, clean_verdict, judge_pass, predicted_classes, surely_clean


class RepairHandle:
    """Corrections attached to a model; `detach` or leaving the `with` block takes them off.

    Calls of the model by several threads at once do not disturb each other. Made by `attach`.

    Args:
        model: what the corrections are attached to.
        repairs: one for each trigger.
        mode: "repair" or "observe".
    """

    def __init__(self, model: nn.Module, repairs: Sequence[Repair], mode: str) -> None:
        self._model = model
        self._repairs = repairs
        self._mode = mode
        self._removables: list[RemovableHandle] = []
        names = {layer.name for repair in repairs for layer in repair.layers}
        self._state = PassState(frozenset(names - {INPUT_LAYER}))
        self._layer_hooks: dict[str, LayerHook] = {}
        self._attached = Attached(self._state)

    @property
    def verdict(self) -> Verdict:
        """The verdict on the latest forward pass that this thread made.

        Raises:
            RepairError: this thread made none.
        """
        state = self._state
        if state.verdict is None:
            if state.clean is None:
                raise RepairError("no forward pass was made since the corrections were attached")
            state.verdict = clean_verdict(self._attached.judges, state.scores, *state.clean)
        return state.verdict

    @property
    def passes(self) -> int:
        """How many forward passes a flagged sample costs, 1 or 2; 0 until that is known."""
        return self._attached.passes

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

    def _attach_hooks(self, device: torch.device) -> None:
        """Attach the hooks of the model and of all layers.

        Args:
            device: of the features; the bundle's tensors are copied there.

        Raises:
            AttachError: the model has no such layer.
        """
        add = self._removables.append
        add(self._model.register_forward_pre_hook(self._begin, prepend=True))
        for i, repair in enumerate(self._repairs):
            for layer in repair.layers:
                if layer.name == INPUT_LAYER:
                    self._attach_input(i, layer, device)
                else:
                    self._attach_layer(i, layer, device)
        judges = self._attached.judges
        several_targets = len({judge.target for judge in judges}) > 1
        self._attached.asking = [one for one in judges if one.base is not None or several_targets]
        # First of the model's own hooks: what others have attached there sees the repaired output.
        add(self._model.register_forward_hook(self._end, with_kwargs=True, prepend=True))
        add(self._model.register_forward_hook(self._abandon, always_call=True))

    def _prove(self, predict: Callable[[], Any]) -> None:
        """Have the model predict, to see that the corrections work.

        Raises:
            RepairError: they do not.
        """
        prove(self._attached, self._repairs, self._mode, predict)

    def _attach_layer(self, repair: int, layer: Layer, device: torch.device) -> None:
        hook = self._layer_hooks.get(layer.name)
        if hook is None:
            hook = LayerHook(self._attached, layer.name, layer.feature_shape)
            self._layer_hooks[layer.name] = hook
            run = hook.run
            if is_compiled(self._model):
                # Traced into the graph, a hook would not write down what it found.
                run = torch.compiler.disable(run)  # type: ignore[no-untyped-call]
            module = find_layer(self._model, layer.name)
            self._removables.append(module.register_forward_hook(run))
        if hook.shape != layer.feature_shape:
            raise AttachError(
                f"layer {layer.name!r}: features of shape {layer.feature_shape} in one repair and "
                f"{hook.shape} in another"
            )
        if layer.detection is not None:
            # Spread over the whole feature, it takes one product to project on.
            weight = layer.detection.weight.expand(layer.feature_shape).contiguous()
            kind = MovingProjection if layer.detection.anywhere else Projection
            detection = kind(weight, layer.detection.threshold).to(device)
            hook.detections[repair] = detection
            self._add_judge(repair, detection, layer.detection)
        if layer.correction is not None and self._mode == "repair":
            hook.corrections[repair] = build_correction(layer.correction).to(device)

    def _attach_input(self, repair: int, layer: Layer, device: torch.device) -> None:
        detection, correction = layer.detection, layer.correction
        if detection is None or not detection.anywhere or not isinstance(correction, Overlay):
            raise AttachError(
                f"{layer.name}: expected it to detect anywhere, and to repair by an overlay"
            )
        target = self._repairs[repair].target if detection.only_target else None
        hook = InputHook(layer.feature_shape, target, detection, correction).to(device)
        self._attached.inputs[repair] = hook
        self._add_judge(repair, hook.projection, detection, hook.base)

    def _add_judge(
        self,
        repair: int,
        projection: Projection,
        detection: Detection,
        base: float | None = None,
    ) -> None:
        target, only_target = self._repairs[repair].target, detection.only_target
        self._attached.judges.append(Judge(projection, only_target, target, base))

    def _begin(self, module: nn.Module, args: Any) -> None:
        if torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
            # What the example's values decide would be traced as if it held for all inputs.
            raise RepairError("a model with corrections cannot be traced: detach them first")
        self._state.begin()

    def _end(self, module: nn.Module, args: Any, kwargs: dict[str, Any], output: Any) -> Any:
        """Judge a whole pass; return the output with what is flagged repaired, or None."""
        state, judges, passes = self._state, self._attached.judges, self._attached.passes
        state.order = state.close()
        # Of samples to be picked out of the inputs, nothing but the inputs says how many they are.
        scored = next(iter(state.scores.values()), None) if passes != 2 else None
        size = count_samples((*args, *kwargs.values()), output, scored)
        if passes == 0:
            self._attached.shared = shared_arguments(args, kwargs, size)
        classes = predicted_classes(self._attached.asking, output, size)
        for i, hook in self._attached.inputs.items():
            score = hook.score(args, kwargs, classes, size)
            if score is not None:
                state.scores[i] = score
        result = None
        if not state.forced and surely_clean(judges, state.scores, size):
            state.clean = (classes, size)
        else:
            verdict = judge_pass(judges, state.scores, output, size, forced=state.forced)
            if passes == 2:
                result = repeat_flagged(
                    self._model, self._attached, args, kwargs, output, verdict.flagged_by, size
                )
            state.verdict = verdict
        state.passes_made += 1
        return result

    def _abandon(self, module: nn.Module, args: Any, output: Any) -> None:
        """End a pass that raised: what runs after it runs outside a pass."""
        self._state.fired = None
