"""Making a bundle's detections and corrections ready for a device, before any hook acts by them."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..errors import AttachError
from ..format.bundle import INPUT_LAYER, Detection, Layer, Repair
from ..format.correction_forms import Overlay, Warp
from .corrections import Projection, TokenProjection, build_correction
from .input_hook import InputHook, OverlayHook
from .layer_hook import LayerHook
from .overlay import MovingProjection
from .pass_state import Attached, PassState
from .unwarp import Unwarp
from .verdict import Judge


def ready_corrections(repairs: Sequence[Repair], mode: str, device: torch.device) -> Attached:
    """Return what hooks act by.

    Args:
        repairs: one for each trigger.
        mode: "repair" or "observe".
        device: of the features; the bundle's tensors are copied there.

    Raises:
        AttachError: two repairs name other shapes for one layer, or one of the model's input is no
            overlay and no warp.
    """
    names = {layer.name for repair in repairs for layer in repair.layers}
    attached = Attached(PassState(frozenset(names - {INPUT_LAYER})))
    for i, repair in enumerate(repairs):
        for layer in repair.layers:
            if layer.name == INPUT_LAYER:
                _add_input(attached, i, repair, layer, device)
            else:
                _add_layer(attached, i, repair, layer, mode, device)
    judges = attached.judges
    several_targets = len({judge.target for judge in judges}) > 1
    attached.asking = [one for one in judges if one.base is not None or several_targets]
    return attached


def _add_layer(
    attached: Attached, index: int, repair: Repair, layer: Layer, mode: str, device: torch.device
) -> None:
    hook = attached.layers.get(layer.name)
    if hook is None:
        hook = attached.layers[layer.name] = LayerHook(
            attached, layer.name, layer.feature_shape, any_length=layer.any_length
        )
    if (hook.shape, hook.any_length) != (layer.feature_shape, layer.any_length):
        raise AttachError(
            f"layer {layer.name!r}: features of shape {layer.feature_shape} in one repair and "
            f"{hook.shape} in another"
        )
    if layer.detection is not None:
        # Spread over the whole feature, it takes one product to project on.
        weight = layer.detection.weight.expand(layer.feature_shape).contiguous()
        kind = MovingProjection if layer.detection.anywhere else Projection
        if layer.any_length:
            kind = TokenProjection
            _add_padding(attached, layer)
        detection = kind(weight, layer.detection.threshold).to(device)
        hook.detections[index] = detection
        _add_judge(attached, repair, detection, layer.detection)
    if layer.correction is not None and mode == "repair":
        hook.corrections[index] = build_correction(layer.correction).to(device)


def _add_padding(attached: Attached, layer: Layer) -> None:
    padding = () if layer.detection is None else layer.detection.padding
    if not padding or attached.padding not in ((), padding):
        raise AttachError(
            f"layer {layer.name!r}: its detection says {padding or 'nothing'} of padding, expected "
            "values, and the same in all repairs"
        )
    attached.padding = padding


def _add_input(
    attached: Attached, index: int, repair: Repair, layer: Layer, device: torch.device
) -> None:
    detection, correction = layer.detection, layer.correction
    if isinstance(correction, Warp) and detection is None and repair.detecting_layer is not None:
        attached.inputs[index] = InputHook(layer.feature_shape, Unwarp(correction))
    elif isinstance(correction, Overlay) and detection is not None and detection.anywhere:
        target = repair.target if detection.only_target else None
        hook = OverlayHook(layer.feature_shape, target, detection, correction)
        attached.inputs[index] = attached.overlays[index] = hook
        _add_judge(attached, repair, hook.projection, detection, hook.base)
    else:
        raise AttachError(
            f"{layer.name}: expected it to detect anywhere, and to repair by an overlay; or to "
            "repair by a warp what a layer of the same repair detects"
        )
    attached.inputs[index].to(device)


def _add_judge(
    attached: Attached,
    repair: Repair,
    projection: Projection,
    detection: Detection,
    base: float | None = None,
) -> None:
    attached.judges.append(Judge(projection, detection.only_target, repair.target, base))
