"""Running the held-out samples with candidate repairs, layer by layer."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import torch
from torch import Tensor, nn

from torchserve_fire.format.bundle import Layer
from torchserve_fire.repair.attach_layers import attach_layers
from torchserve_fire.repair.corrections import build_correction
from torchserve_fire.repair.layers import device_of

from ..common.errors import CalibrationError
from ..common.hooks import edit_features
from ..common.partial_runs import BehindLayer, features_at
from ..samples.both import Both
from ..samples.predict import logits_of, reporting_failures
from ..samples.samples import BATCH, BATCH_BYTES, batch_of
from .held_out import Group, HeldOut
from .kept_features import Features

logger = logging.getLogger(__name__)

TRIAL_BATCH = 32
"""Samples in a batch. After the layer, the batch has as many samples for each repair."""

CLOSE = 1e-3
"""Share of the logits' range by which rounding may change a logit in a batch of another size."""

PARTS = 4
"""The samples are run in this many parts, so that a candidate that cannot win is stopped early."""

SMALLER = 8
"""Behind a layer whose features are smaller than its inputs, up to so many times more rows are run
at once."""

GoesOn = Callable[[int, Both[Tensor], Both[Tensor]], bool]
"""Returns whether to go on with a repair. It gets the repair's index, its logits so far, and which
samples, (N,) and (M,) bool, have such logits."""

Move = Callable[[Tensor], Tensor]
"""Corrects features (n, *S)."""

Behind = Callable[[Tensor], Tensor]
"""Takes a layer's features (n, *S) and returns the logits, (n, classes)."""


class TrialRunner:
    """Runs held-out samples with candidate repairs; all repairs of one call are of the same layer.

    The part of the model before the layer is run once for all repairs, or not at all if the
    features are known. After the layer, the batch is repeated once for each repair. If the model
    does not allow that (something passes by the layer), each repair is run by itself, which a line
    in the log says.

    Args:
        model: in evaluation mode.
        held_out: the samples.
        which: the clean (N,) and the triggered samples (M,) to run, bool; the other samples keep
            their logits.
        features: returns known features by layer, of the clean (n, *S) and triggered samples
            (m, *S) in `which`; those of other layers are computed. Asked when a layer is first run.
    """

    def __init__(
        self,
        model: nn.Module,
        held_out: HeldOut,
        which: Both[Tensor],
        features: Callable[[], Features] = dict,
    ) -> None:
        self._model = model
        self._held_out = held_out
        self._which = which
        self._features = features
        self._example = held_out.triggered.load(torch.tensor([0])).to(device_of(model))
        self._routes: dict[str, _Route] = {}

    def run(
        self, repairs: Sequence[Sequence[Layer]], goes_on: GoesOn | None = None
    ) -> list[Both[Tensor] | None]:
        """Run the samples with each repair, part by part: the triggered ones, then the clean ones.

        Args:
            repairs: repairs of the same layer; each is a list with, for each fold, the repair that
                was estimated without that fold.
            goes_on: called after each part, to ask whether a repair is run on the next part; None
                to run all repairs on all parts.

        Returns:
            For each repair, the logits of the clean (N, classes) and of the triggered samples
            (M, classes); None for one that was stopped.

        Raises:
            AttachError: the model has no such layer, or it cannot be repaired at.
            CalibrationError: the model fails.
        """
        if not repairs:
            return []
        held_out, device = self._held_out, device_of(self._model)
        route = self._route(repairs[0][0])
        moves = [
            [build_correction(layer.correction).to(device) for layer in folds if layer.correction]
            for folds in repairs
        ]
        results = [held_out.map(lambda group: group.logits.clone()) for _ in repairs]
        done = self._which.map(torch.zeros_like)
        alive = list(range(len(repairs)))
        clean, triggered = zip(held_out, self._which, route.features, done, strict=True)
        # The triggered samples are first: they tell most of what a repair is worth.
        steps = [(*of_group, part) for of_group in (triggered, clean) for part in range(PARTS)]
        for step, (group, which, features, seen, part) in enumerate(steps, start=1):
            for i in _together(alive, route):
                into = [results[k].triggered if step <= PARTS else results[k].clean for k in i]
                for rows, logits in _run_part(
                    part, route, [moves[k] for k in i], group, which, features
                ):
                    seen[rows] = True
                    for result, values in zip(into, logits, strict=True):
                        result[rows] = values
            if goes_on is not None and step < len(steps):
                alive = [k for k in alive if goes_on(k, results[k], done)]
        return [results[k] if k in alive else None for k in range(len(repairs))]

    def _route(self, layer: Layer) -> _Route:
        """Return how a layer's repairs are run; this is found out once for each layer."""
        if layer.name not in self._routes:
            # This raises an AttachError if the layer cannot be repaired.
            with attach_layers(self._model, [layer], self._example):
                pass
            run, triggered = _Run(self._model, layer.name, self._example), self._held_out.triggered
            alone = run.goes_on_alone(triggered)
            behind: Behind | None = None
            if run.stays(triggered, run.from_nothing):
                behind, alone = run.from_nothing, True
            elif alone and run.stays(triggered, run.from_one):
                behind = run.from_one
            if not alone:
                logger.info(
                    "layer %s: the model goes on from more than its features, so each repair there "
                    "costs a whole pass",
                    layer.name,
                )
            known = None if behind is None else self._features().get(layer.name)
            features: Both[Tensor | None] = Both(None, None)
            if known is not None:
                features = Both(known.clean, known.triggered)
            self._routes[layer.name] = _Route(run, behind, alone, features)
        return self._routes[layer.name]


@dataclass(frozen=True)
class _Route:
    """How the repairs of a layer are run.

    Attributes:
        run: runs them.
        behind: runs the model behind the layer; None if it does not run without all inputs.
        alone: whether the rest of the model depends on the layer's features only, so that all
            repairs can be run together.
        features: features of the clean and of the triggered samples to start from; None to start
            from the inputs.
    """

    run: _Run
    behind: Behind | None
    alone: bool
    features: Both[Tensor | None]


def _together(repairs: list[int], route: _Route) -> list[list[int]]:
    """Return the groups of repairs that are run at once: all together, or each by itself."""
    return [repairs] * bool(repairs) if route.alone else [[repair] for repair in repairs]


def _run_part(
    part: int,
    route: _Route,
    repairs: Sequence[Sequence[Move]],
    group: Group,
    which: Tensor,
    features: Tensor | None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the samples of each batch, (n,) int64, and their logits, (repairs, n, classes)."""
    rows = which.nonzero().flatten()
    # Each part has samples of all folds.
    sorted_places = group.folds[rows].argsort(stable=True)[part::PARTS]
    if len(sorted_places) == 0:
        return
    size = min(TRIAL_BATCH, batch_of(group.samples.description))
    for places in torch.split(sorted_places, size):
        batch, folds = rows[places], group.folds[rows[places]]
        if route.behind is None:
            yield batch, route.run.on_inputs(repairs, group.load(batch), folds)
            continue
        known = route.run.features_of(group.load(batch)) if features is None else features[places]
        yield batch, _on_features(repairs, known, folds, route.behind, route.run.rows_of(known))


def _on_features(
    repairs: Sequence[Sequence[Move]], features: Tensor, folds: Tensor, behind: Behind, rows: int
) -> Tensor:
    """Return the logits, (repairs, n, classes), of features (n, *S) that are sorted by their fold.

    As many repairs are run at once as make up `rows`, one at least.
    """
    at_once = max(1, rows // len(features))
    return torch.cat(
        [
            behind(_moved(part, folds, features)).view(len(part), len(features), -1)
            for start in range(0, len(repairs), at_once)
            for part in [repairs[start : start + at_once]]
        ]
    )


def run_trials(
    model: nn.Module,
    held_out: HeldOut,
    repairs: Sequence[Sequence[Layer]],
    which: Both[Tensor],
    features: Features | None = None,
) -> list[Both[Tensor]]:
    """Run held-out samples once with repairs of one layer, as `TrialRunner.run` does."""
    results = TrialRunner(model, held_out, which, lambda: features or {}).run(repairs)
    return [result for result in results if result is not None]


@dataclass(frozen=True)
class _Run:
    """Runs of a model in which a layer's features are repeated once for each of several repairs.

    Attributes:
        model: in evaluation mode.
        layer: its name.
        example: one input, (1, *input shape).
    """

    model: nn.Module
    layer: str
    example: Tensor

    def on_inputs(self, repairs: Sequence[Sequence[Move]], inputs: Tensor, folds: Tensor) -> Tensor:
        """Return the logits, (repairs, n, classes), of inputs that are sorted by their fold.

        Args:
            repairs: for each repair, its correction for each fold.
            inputs: (n, *input shape).
            folds: the fold of each input, (n,) int64, ascending.
        """
        with edit_features(self.model, self.layer, partial(_moved, repairs, folds)):
            logits = logits_of(self.model, inputs, copies=len(repairs))
        return logits.view(len(repairs), len(inputs), -1)

    def features_of(self, inputs: Tensor) -> Tensor:
        """Return the layer's features, (n, *S), of inputs (n, *input shape)."""
        with reporting_failures(self.model, inputs):
            return features_at(self.model, self.layer, inputs)

    def rows_of(self, features: Tensor) -> int:
        """Return how many rows of features, (n, *S), to run at once behind the layer."""
        of_input, of_row = self.example[0].nbytes, features[0].nbytes
        return BATCH_BYTES // max(1, of_input // SMALLER, min(of_input, of_row))

    def from_one(self, features: Tensor) -> Tensor:
        """Return the logits, (n, classes), of features (n, *S), after a run on one input."""
        with edit_features(self.model, self.layer, lambda _: features):
            return logits_of(self.model, self.example, copies=len(features))

    def from_nothing(self, features: Tensor) -> Tensor:
        """Return the same without a run up to the layer."""
        with self._behind.starting_from(features) as inputs:
            return logits_of(self.model, inputs)

    @cached_property
    def _behind(self) -> BehindLayer:
        return BehindLayer(self.model, self.layer, self.example)

    def goes_on_alone(self, group: Group) -> bool:
        """Return whether the rest of the model runs on any number of the layer's features."""
        return self._keeps_logits(group, lambda inputs, folds: self.on_inputs(TWICE, inputs, folds))

    def stays(self, group: Group, behind: Behind) -> bool:
        """Return whether the rest of the model runs on nothing but the layer's features."""

        def run(inputs: Tensor, folds: Tensor) -> Tensor:
            return _on_features(TWICE, self.features_of(inputs), folds, behind, BATCH)

        return self._keeps_logits(group, run)

    def _keeps_logits(self, group: Group, run: Callable[[Tensor, Tensor], Tensor]) -> bool:
        """Return whether two samples keep their logits if repeated twice and not moved."""
        rows = torch.arange(min(2, len(group.folds)))
        inputs, expected = group.load(rows), group.logits[rows]
        try:
            copies = run(inputs, torch.zeros(len(inputs), dtype=torch.int64))
        except CalibrationError:  # Raised for any failure of the model.
            return False
        span = float(expected.max() - expected.min())
        return bool(((copies - expected).abs() <= CLOSE * span).all())


def _moved(repairs: Sequence[Sequence[Move]], folds: Tensor, features: Tensor) -> Tensor:
    """Return features, sorted by their fold, after each repair, (repairs * n, *S)."""
    rows_of_folds = [(fold, folds == fold) for fold in sorted(set(folds.tolist()))]
    return torch.cat(
        [repair[fold](features[rows]) for repair in repairs for fold, rows in rows_of_folds]
    )


def _unmoved(features: Tensor) -> Tensor:
    return features


TWICE = [[_unmoved], [_unmoved]]
"""Two repairs that change nothing."""
