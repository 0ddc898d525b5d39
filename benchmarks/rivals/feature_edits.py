"""Changing the features of one layer, and choosing the layer where that helps most."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from torch import Tensor, nn

from benchmarks.evidence import Evidence
from benchmarks.measure import predict, share
from handler.layers import feature_of, find_layer, with_feature

from .rival import Answers, Defence, answer_with

Edit = Callable[[Tensor], Tensor]
"""Returns features (N, *S), changed."""


@contextmanager
def edited(model: nn.Module, layer: str, edit: Edit) -> Iterator[None]:
    """Let the model run with the features of a layer changed."""

    def hook(module: nn.Module, args: object, output: object) -> object:
        feature = feature_of(output)
        if feature is None:
            raise TypeError(f"layer {layer!r} returns no tensor of features")
        return with_feature(output, edit(feature))

    handle = find_layer(model, layer).register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def answer_edited(model: nn.Module, layer: str, edit: Edit) -> Defence:
    """Return the defence that changes the features of a layer of every input."""
    plain = answer_with(model)

    def answer(images: Tensor) -> Answers:
        with edited(model, layer, edit):
            return plain(images)

    return answer


def defend_at_best_layer(
    model: nn.Module, evidence: Evidence, edits: Mapping[str, Edit]
) -> Defence:
    """Return the defence by the one of the edits, layer to edit, that the evidence favours.

    That is the one with the highest accuracy of triggered plus accuracy of clean calibration
    samples; of several, the first.
    """

    def worth(layer: str) -> float:
        with edited(model, layer, edits[layer]):
            return sum(
                share(predict(model, images) == images.labels)
                for images in (evidence.clean, evidence.triggered)
            )

    layer = max(edits, key=worth)
    return answer_edited(model, layer, edits[layer])
