"""The methods that inspect a model, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from ..common.names import SCAN
from ..common.registry import Registry
from ..reconstruct import deep_inspect
from ..reconstruct.methods import SEARCH_METHODS
from ..reconstruct.settings import OWN_VALUES, SearchSettings
from ..samples.class_label import Label
from . import meta_classifier, neuron_inspect, scanning
from .inspection import Inspect
from .reconstructions import ReconstructedTriggers


@dataclass(frozen=True)
class InspectionSettings:
    """The settings of the methods.

    Attributes:
        shadows: number of shadow models.
        cache: folder to keep shadow models and the steps of a scan in; None to keep none.
        queries: number of queries to the shadow models.
        saliency_weights: weights of NeuronInspect's features.
        search: settings of the searches for triggers.
        label: says what a class is called; `inspect_model` sets it.
    """

    shadows: int = meta_classifier.DEFAULT_SHADOWS
    cache: Path | None = None
    queries: int = meta_classifier.DEFAULT_QUERIES
    saliency_weights: Mapping[str, float] = field(default_factory=lambda: neuron_inspect.WEIGHTS)
    search: SearchSettings = OWN_VALUES
    label: Label = str


@dataclass(frozen=True)
class InspectionMethod:
    """A method to choose.

    Attributes:
        make: makes the method from the settings.
        needs_images: False if the method also works without clean samples.
        decides: False if the method often finds something in benign models, too. It is then a hint,
            and decides nothing.
    """

    make: Callable[[InspectionSettings], Inspect]
    needs_images: bool = True
    decides: bool = True


def _reconstruction(name: str) -> InspectionMethod:
    return InspectionMethod(
        lambda settings: ReconstructedTriggers(name, settings.search, settings.label),
        needs_images=name != deep_inspect.NAME,
    )


_BUILT_IN: Mapping[str, InspectionMethod] = {
    SCAN: InspectionMethod(
        lambda settings: partial(scanning.scan_classes, cache=settings.cache, label=settings.label)
    ),
    **{name: _reconstruction(name) for name in SEARCH_METHODS},
    neuron_inspect.NAME: InspectionMethod(
        lambda settings: partial(neuron_inspect.neuron_inspect, weights=settings.saliency_weights),
        decides=False,
    ),
    meta_classifier.NAME: InspectionMethod(
        lambda settings: meta_classifier.MetaClassifier(
            settings.shadows, settings.cache, settings.queries
        )
    ),
}

INSPECTION_METHODS: Registry[InspectionMethod] = Registry(
    "torchserve_fire.inspections", _BUILT_IN, kind=InspectionMethod
)

DEFAULT = (SCAN,)
"""What is run if no method is named."""
