"""Attaching corrections to a model, and taking them off again without a trace.

One forward pass judges; what it flags is moved back in the same pass where the detecting layer runs
before every repairing one, else by running the flagged samples once more. Samples that are not
flagged come out bit-identical to those of the model without corrections. Of several repairs, for
triggers with targets of their own, each sample that is flagged goes through one.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ..errors import AttachError, RepairError, first_line
from ..format.bundle import Layer, Repair, repairs_of
from .batch import batch_size, holds_samples, is_per_sample, replace_samples, select_samples
from .corrections import Projection, build_correction
from .layers import device_of, feature_of, find_layer, is_compiled, with_feature
from .verdict import Judge, Verdict, judge

MODES = ("repair", "observe")


class RepairHandle:
    """Corrections attached to a model; `detach` or leaving the `with` block takes them off.

    Calls of the model by several threads at once do not disturb each other. Made by `attach`.

    Attributes:
        passes: forward passes that a flagged sample costs, 1 or 2; 0 until that is known.
    """

    def __init__(self, model: nn.Module, repairs: Sequence[Repair], mode: str) -> None:
        self._model = model
        self._repairs = repairs
        self._mode = mode
        self._removables: list[RemovableHandle] = []
        self._state = _State()
        self._expected = {(i, x.name) for i, repair in enumerate(repairs) for x in repair.layers}
        # One for each repair; none where every input is corrected.
        self._judges: list[Judge] = []
        self.passes = 0

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
        for i, repair in enumerate(self._repairs):
            for layer in repair.layers:
                self._attach_layer(i, layer, device)
        # First of the model's own hooks: what others have attached there sees the repaired output.
        add(self._model.register_forward_hook(self._end, with_kwargs=True, prepend=True))

    def _attach_layer(self, i: int, layer: Layer, device: torch.device) -> None:
        """Attach a layer of the repair at index `i`."""
        module = find_layer(self._model, layer.name)
        detection = correction = None
        if layer.detection is not None:
            # Spread over the whole feature, it takes one product to project on.
            weight = layer.detection.weight.expand(layer.feature_shape).contiguous()
            detection = Projection(weight, layer.detection.threshold).to(device)
            target = self._repairs[i].target
            self._judges.append(Judge(detection, layer.detection.only_target, target))
        if layer.correction is not None and self._mode == "repair":
            correction = build_correction(layer.correction).to(device)
        hook = self._layer_hook(i, layer, detection, correction)
        if is_compiled(self._model):
            # Traced into the graph, a hook would not write down what it found.
            hook = torch.compiler.disable(hook)  # type: ignore[no-untyped-call]
        self._removables.append(module.register_forward_hook(hook))

    def _prove(self, predict: Callable[[], Any]) -> None:
        """Predict once to see every hook fire, and once more through every correction."""
        made = self._state.passes_made
        with torch.no_grad():
            predict()
            self.passes = self._count_passes()
            self._state.forced = True
            try:
                predict()
            finally:
                self._state.forced = False
        if self._state.passes_made != made + 2:
            raise RepairError(
                "the model runs without its hooks, or the example is not one forward pass of it"
            )
        self._state.verdict = None

    def _count_passes(self) -> int:
        """Return 1 where, in the order just seen, telling comes before all repairing, else 2."""
        if not self._judges or self._mode == "observe":
            return 1
        # The prediction that `only_target` asks for is known at the end of a pass only.
        if any(one.only_target for one in self._judges):
            return 2
        (repair,) = self._repairs
        order = [name for _, name in self._state.order]
        tells = [order.index(layer.name) for layer in repair.layers if layer.detection]
        return 2 if min(order.index(x.name) for x in repair.repairing_layers) < tells[0] else 1

    def _layer_hook(
        self, i: int, layer: Layer, detection: Projection | None, correction: nn.Module | None
    ) -> Callable[..., Any]:
        state = self._state

        def hook(module: nn.Module, args: Any, output: Any) -> Any:
            if state.fired is None:
                raise RepairError(
                    f"layer {layer.name!r} was run outside a forward pass of the model that its "
                    "corrections are attached to"
                )
            if (i, layer.name) in state.fired:
                raise RepairError(
                    f"layer {layer.name!r} runs several times in one forward pass: choose one "
                    "that runs once"
                )
            state.fired.append((i, layer.name))
            feature = feature_of(output)
            if feature is None or tuple(feature.shape[1:]) != layer.feature_shape:
                found = "no tensor" if feature is None else str(tuple(feature.shape[1:]))
                raise RepairError(
                    f"layer {layer.name!r}: features of shape {found}, "
                    f"expected {layer.feature_shape}"
                )
            if detection is not None and state.repeating is None:
                state.scores[i] = detection(feature.detach())
            if correction is None:
                return None
            moved = self._correct(i, layer.name, feature, correction)
            return None if moved is None else with_feature(output, moved)

        return hook

    def _correct(self, i: int, name: str, feature: Tensor, correction: nn.Module) -> Tensor | None:
        """Return the features with the flagged samples moved, None where nothing moves yet."""
        state = self._state
        if not self._judges or state.repeating == i:
            return self._move(name, feature, correction)
        if self.passes != 1:
            return None
        scores = state.scores.get(i)
        if scores is None or len(scores) != len(feature):
            raise RepairError(
                f"layer {name!r}: there is not one score per sample to repair by: the detecting "
                "layer did not run before it, or one of the two has several features per sample"
            )
        projection = self._judges[i].projection
        if not state.forced and projection.flags_none(scores):
            return None
        flagged = projection.flags(scores) | state.forced
        mask = flagged.view((-1,) + (1,) * (feature.dim() - 1))
        return torch.where(mask, self._move(name, feature, correction), feature)

    def _move(self, name: str, feature: Tensor, correction: nn.Module) -> Tensor:
        moved: Tensor = correction(feature)
        if (
            self._state.forced
            and bool(feature.isfinite().all())
            and not bool(moved.isfinite().all())
        ):
            raise RepairError(f"layer {name!r}: the correction leaves the range of {feature.dtype}")
        return moved

    def _begin(self, module: nn.Module, args: Any) -> None:
        self._state.fired = []
        self._state.scores, self._state.verdict = {}, None

    def _end(self, module: nn.Module, args: Any, kwargs: dict[str, Any], output: Any) -> Any:
        state = self._state
        state.order = self._close_pass()
        size = self._count_samples((*args, *kwargs.values()), output)
        result = None
        if not self._judges:
            verdict = Verdict(None, torch.ones(size, dtype=torch.bool))
        else:
            if any(
                i not in state.scores or size != len(state.scores[i])
                for i in range(len(self._judges))
            ):
                raise RepairError("the detecting layer does not have one feature per input sample")
            all_scores = [state.scores[i] for i in range(len(self._judges))]
            scores, flagged = judge(self._judges, all_scores, output, prove=state.forced)
            if state.forced:
                flagged = [torch.ones_like(one) for one in flagged]
            if self.passes == 2:
                result = self._repeat_flagged(args, kwargs, output, flagged, size)
            verdict = Verdict(scores, functools.reduce(torch.logical_or, flagged), all_scores)
        state.verdict = verdict
        state.passes_made += 1
        return result

    def _count_samples(self, inputs: tuple[Any, ...], output: Any) -> int:
        """Return how many samples the model was given.

        Packed inputs, as tokens with offsets, or a list of images, do not say it. Unless samples
        must be picked out of them to be run again, the detecting layer may say it, where the output
        agrees.
        """
        size = batch_size(inputs)
        if self.passes != 2 and self._state.scores:
            told = len(next(iter(self._state.scores.values())))
            if told != size and is_per_sample(output, told):
                return told
        if size is None:
            raise RepairError("the model's input holds no tensor (N, ...)")
        return size

    def _close_pass(self) -> list[tuple[int, str]]:
        """Return the layers in the order in which they ran; refuse that one did not."""
        fired, self._state.fired = self._state.fired or [], None
        # None fires twice.
        if len(fired) < len(self._expected):
            missing = sorted(name for _, name in self._expected - set(fired))
            raise RepairError(
                f"layer {missing[0]!r} did not run, or its hook did not fire, in a forward pass: "
                "the input would be answered without repair"
            )
        return fired

    def _repeat_flagged(
        self, args: Any, kwargs: dict[str, Any], output: Any, flagged: Sequence[Tensor], size: int
    ) -> Any:
        """Return the output with what each repair flagged, (N,) bool, repaired; None for none."""
        result = None
        for i, mask in enumerate(flagged):
            if bool(mask.any()):
                whole = output if result is None else result
                result = self._repeat(i, args, kwargs, whole, mask.nonzero().flatten(), size)
        return result

    def _repeat(
        self, i: int, args: Any, kwargs: dict[str, Any], output: Any, index: Tensor, size: int
    ) -> Any:
        """Run samples once more, corrected by the repair `i`, and put them in their places."""
        if not holds_samples(output, size):
            raise RepairError("the model's output holds no tensor with one row per input sample")
        state = self._state
        state.repeating, state.fired = i, []
        try:
            # Not the model's call: the hooks of others on it ran, or will run, on the whole batch.
            repaired = self._model.forward(
                *select_samples(args, index, size), **select_samples(kwargs, index, size)
            )
            self._close_pass()
        finally:
            state.repeating, state.fired = None, None
        return replace_samples(output, repaired, index, size)


class _State(threading.local):
    """What one thread's current forward pass has seen.

    Attributes:
        fired: layers that ran, in their order, each with its repair's index; None outside a
            forward pass.
        order: `fired` of the latest whole pass.
        repeating: the repair by which a second pass, of flagged samples only, moves; None in the
            first pass.
        forced: whether every sample counts as flagged, to prove the corrections.
        passes_made: see `RepairHandle.passes_made`.
        scores: projections at the detecting layer of each repair.
        verdict: of the latest whole pass.
    """

    fired: list[tuple[int, str]] | None = None
    order: Sequence[tuple[int, str]] = ()
    repeating: int | None = None
    forced: bool = False
    passes_made: int = 0
    scores: dict[int, Tensor]
    verdict: Verdict | None = None

    def __init__(self) -> None:
        self.scores = {}


def attach(
    model: nn.Module,
    layers: Sequence[Layer],
    example: Tensor | Callable[[], Any],
    *,
    target: int | None = None,
    mode: str = "repair",
) -> RepairHandle:
    """Attach the corrections of a bundle's layers to a model, and prove that they work.

    Args:
        model: in evaluation mode, on its device; its weights are not touched.
        layers: where to judge and move what; those that name different targets make one repair
            each.
        example: one or more inputs, (N, *input shape), for the proof; their values do not matter.
            Or, for a model that takes anything else, a function that has it predict once.
        target: the class that flagged samples must be predicted as, where a layer asks for it and
            names none itself.
        mode: "repair", or "observe" to judge and change nothing.

    Returns:
        The handle; also a context manager.

    Raises:
        AttachError: the model is a ScriptModule, in training mode, or has corrections already; a
            layer does not exist, does not run exactly once, or its features have another shape; a
            flagged sample could not be repaired. Nothing stays attached.

    Example:
        >>> with attach(model, bundle.layers, torch.zeros(1, 3, 32, 32), target=0) as handle:
        ...     logits = model(images)
        ...     flagged = handle.verdict.flagged
    """
    _check_model(model)
    repairs = repairs_of(layers, target)
    _check_repairs(repairs, mode)
    handle = RepairHandle(model, repairs, mode)
    try:
        if isinstance(example, Tensor):
            handle._attach(example.device)
            handle._prove(functools.partial(model, example))
        else:
            handle._attach(device_of(model))
            handle._prove(example)
    except BaseException as error:
        handle.detach()
        if isinstance(error, Exception) and not isinstance(error, AttachError):
            reason = first_line(error)
            raise AttachError(f"the corrections do not fit the model: {reason}") from error
        raise
    return handle


def _check_model(model: nn.Module) -> None:
    for name, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            raise AttachError(
                f"{f'layer {name!r}' if name else 'the model'} is a ScriptModule, whose layers run "
                "no hooks: bring the Python model file and its state_dict instead (package "
                "--model-file net.py --serialized-file w.pth)"
            )
        if module._compiled_call_impl is not None or (name and is_compiled(module)):
            # Traced into a part's graph, hooks do not write down what they found.
            raise AttachError(
                f"{f'layer {name!r}' if name else 'the model'} was compiled in place or by itself: "
                "attach to torch.compile(model) of the whole model, or to one that is not compiled"
            )
        if module.training:
            raise AttachError(
                f"{f'layer {name!r}' if name else 'the model'} is in training mode: call "
                "model.eval() first"
            )
        hooks = module._forward_pre_hooks.values()
        if any(isinstance(getattr(hook, "__self__", None), RepairHandle) for hook in hooks):
            raise AttachError(
                "the model has corrections attached already: detach them first, or put all layers "
                "into one bundle"
            )


def _check_repairs(repairs: Sequence[Repair], mode: str) -> None:
    if mode not in MODES:
        raise AttachError(f"mode {mode!r}, expected one of {', '.join(MODES)}")
    for repair in repairs:
        names = [layer.name for layer in repair.layers]
        if len(set(names)) != len(names):
            raise AttachError(f"layers {', '.join(names)}: one of them stands there twice")
        detection = [layer.detection for layer in repair.layers if layer.detection]
        if len(detection) > 1:
            raise AttachError("several layers detect, expected at most one")
        if repair.target is None and repair.only_target:
            raise AttachError("a layer flags only what is predicted as the target: give the target")
        if len(repairs) > 1 and not (repair.only_target and repair.target is not None):
            raise AttachError(
                f"target {repair.target}: beside other targets, expected a layer for it that "
                "detects with only_target"
            )
    if mode == "observe" and not any(repair.detecting_layer for repair in repairs):
        raise AttachError("mode 'observe' needs a layer that detects, and the bundle has none")
    if mode == "repair" and not (repairs and all(repair.repairing_layers for repair in repairs)):
        raise AttachError("mode 'repair' needs a layer that repairs, and the bundle has none")
