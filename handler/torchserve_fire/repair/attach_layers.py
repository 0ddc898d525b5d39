"""Attaching single layers' detections and corrections to a model, and proving that they work.

One forward pass judges. What it flags is moved back in the same pass, where the detecting layer
runs before every repairing one; else the flagged samples are run once more. Samples that are not
flagged come out bit-identical to those of the model without corrections. Of several repairs, for
triggers with targets of their own, each flagged sample goes through one.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import AttachError, first_line
from ..format.bundle import Layer, Repair, repairs_of
from .layers import device_of, is_compiled
from .pass_state import Attached
from .ready_corrections import ready_corrections
from .repair_handle import RepairHandle

MODES = ("repair", "observe")

_attaching = threading.Lock()


def attach_layers(
    model: nn.Module,
    layers: Sequence[Layer],
    example: Tensor | Callable[[], Any],
    *,
    target: int | None = None,
    mode: str = "repair",
) -> RepairHandle:
    """Attach the detections and corrections of layers to a model, and prove that they work.

    `attach` does this for a whole bundle, and checks that it was built for these weights.

    Args:
        model: in evaluation mode, on its device; its weights are not touched.
        layers: where to judge and move what; those that name different targets make one repair
            each.
        example: one or more inputs, (N, *input shape), for the proof; their values do not matter.
            Or, for a model that takes anything else, a function that has it predict once, on
            several inputs if an argument is for the whole batch: the proof shows which are.
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
        >>> with attach_layers(model, bundle.layers, torch.zeros(1, 3, 32, 32), target=0) as handle:
        ...     logits = model(images)
        ...     flagged = handle.verdict.flagged
    """
    check_model(model)
    repairs = repairs_of(layers, target)
    _check_repairs(repairs, mode)
    with _failures():
        device, predict = _trial(model, example)
        attached = ready_corrections(repairs, mode, device)
        handle = RepairHandle(model, attached)
        try:
            with _attaching:
                # Another thread may have attached some meanwhile.
                check_model(model)
                handle.attach_hooks()
            handle.prove(attached, repairs, mode, predict)
        except BaseException:
            handle.detach()
            raise
    return handle


def prove_beside(
    handle: RepairHandle,
    model: nn.Module,
    layers: Sequence[Layer],
    example: Tensor | Callable[[], Any],
    *,
    target: int | None = None,
    mode: str = "repair",
) -> Attached:
    """Make other corrections ready for a model that has some, and prove that they work.

    Those in use go on acting, in other threads also meanwhile.

    Args:
        handle: of the corrections in use.
        model: what they are attached to.
        layers: as `attach_layers` takes them.
        example: as `attach_layers` takes it.
        target: as `attach_layers` takes it.
        mode: "repair" or "observe".

    Returns:
        The corrections, which `RepairHandle.use` takes.

    Raises:
        AttachError: as of `attach_layers`. Nothing of them stays.
    """
    repairs = repairs_of(layers, target)
    _check_repairs(repairs, mode)
    with _failures():
        device, predict = _trial(model, example)
        attached = ready_corrections(repairs, mode, device)
        handle.prove(attached, repairs, mode, predict)
    return attached


def _trial(
    model: nn.Module, example: Tensor | Callable[[], Any]
) -> tuple[torch.device, Callable[[], Any]]:
    """Return where the features of an example are, and what has the model predict it."""
    if isinstance(example, Tensor):
        if len(example) == 0:
            raise AttachError("the example holds no input, expected one or more")
        return example.device, functools.partial(model, example)
    if callable(example):
        return device_of(model), example
    raise AttachError(
        f"example: {type(example).__name__}, expected a Tensor, or a function that has the "
        "model predict once"
    )


@contextlib.contextmanager
def _failures() -> Iterator[None]:
    """Tell what is raised meanwhile as this project's error."""
    try:
        yield
    except AttachError:
        raise
    except Exception as error:
        reason = first_line(error)
        raise AttachError(f"the corrections do not fit the model: {reason}") from error


def check_model(model: nn.Module) -> None:
    """Refuse a model on which hooks would not run, or whose own work they would disturb.

    Raises:
        AttachError: it is, or holds, a ScriptModule, was compiled in part, is in training mode, or
            has corrections attached already.
    """
    if not isinstance(model, nn.Module):
        raise AttachError(f"{type(model).__name__}: expected a torch.nn.Module")
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
                "the model has corrections attached already: detach them, or close what open_model "
                "returned, first; or put all layers into one bundle"
            )


def _check_repairs(repairs: Sequence[Repair], mode: str) -> None:
    if mode not in MODES:
        raise AttachError(f"mode {mode!r}, expected one of {', '.join(MODES)}")
    several_targets = len({repair.target for repair in repairs}) > 1
    for repair in repairs:
        names = [layer.name for layer in repair.layers]
        if len(set(names)) != len(names):
            raise AttachError(f"layers {', '.join(names)}: one of them stands there twice")
        detection = [layer.detection for layer in repair.layers if layer.detection]
        if len(detection) > 1:
            raise AttachError("several layers detect, expected at most one")
        if repair.target is None and repair.only_target:
            raise AttachError("a layer flags only what is predicted as the target: give the target")
        if len(repairs) > 1 and repair.detecting_layer is None:
            raise AttachError("a repair does not detect, expected each of several to")
        if several_targets and not (repair.only_target and repair.target is not None):
            raise AttachError(
                f"target {repair.target}: beside other targets, expected a layer for it that "
                "detects with only_target"
            )
    if mode == "observe" and not any(repair.detecting_layer for repair in repairs):
        raise AttachError("mode 'observe' needs a layer that detects, and the bundle has none")
    if mode == "repair" and not (repairs and all(repair.repairing_layers for repair in repairs)):
        raise AttachError("mode 'repair' needs a layer that repairs, and the bundle has none")
