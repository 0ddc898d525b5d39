"""Running the held-out samples with candidate repairs, layer by layer."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
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
from ..samples.fitting_batches import fitting_batches
from ..samples.predict import logits_of, reporting_failures
from ..samples.samples import BATCH, BATCH_BYTES, batch_of
from .held_out import Group, HeldOut
from .kept_features import Features

logger = logging.getLogger(__name__)

TRIAL_BATCH = 32
"""Samples in a batch. After the layer, the batch has as many samples for each repair."""

CLOSE = 1e-3
"""Share of the logits' range by which rounding may change a logit in a batch of another size."""

PARTS, MOST_PARTS = 4, 8
"""The samples of each kind are run in at least, and at most, so many parts, so that a candidate
that cannot win is stopped early."""

OF_PART = 25
"""Of more samples there are more parts, so that each part has no fewer than this."""

SMALLER = 8
"""Behind a layer whose features are smaller than its inputs, up to so many times more rows are run
at once."""

GoOn = Callable[[Mapping[int, Both[Tensor]], Both[Tensor]], Iterable[int]]
"""Returns the repairs to go on with, by their indices. It gets the logits so far of those that are
run, and which samples, (N,) and (M,) bool, have such logits."""

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

    @property
    def first_part(self) -> Tensor:
        """The triggered samples that are run first, their indices (n,) int64."""
        return _parts(self._held_out.triggered, self._which.triggered)[0][0]

    def run_first_part(self, repairs: Sequence[Sequence[Layer]]) -> Tensor:
        """Return the logits of `first_part` with each repair, (repairs, n, classes).

        Args:
            repairs: as in `run`.
        """
        seen: dict[int, Both[Tensor]] = {}

        def stop(logits: Mapping[int, Both[Tensor]], done: Both[Tensor]) -> list[int]:
            seen.update(logits)
            return []

        self.run(repairs, stop)
        return torch.stack([logits.triggered[self.first_part] for logits in seen.values()])

    def run(
        self,
        repairs: Sequence[Sequence[Layer]],
        go_on: GoOn | None = None,
        known: Tensor | None = None,
    ) -> list[Both[Tensor] | None]:
        """Run the samples with each repair, part by part: the triggered ones, then the clean ones.

        Args:
            repairs: repairs of the same layer; each is a list with, for each fold, the repair that
                was estimated without that fold.
            go_on: called after each part, to ask which repairs are run on the next part; None to
                run all repairs on all parts.
            known: the logits of the first part, if `run_first_part` was called of these repairs.

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
        clean, triggered = (
            [(group, features, seen, *part) for part in _parts(group, which)]
            for group, which, features, seen in zip(
                held_out, self._which, route.features, done, strict=True
            )
        )
        # The triggered samples are first: they tell most of what a repair is worth.
        steps = [*triggered, *clean]
        for step, (group, features, seen, rows, places) in enumerate(steps):
            seen[rows] = True
            for i in _together(alive, route):
                logits = (
                    known[i]
                    if known is not None and step == 0
                    else _run_part(route, [moves[k] for k in i], group, rows, features, places)
                )
                for k, values in zip(i, logits, strict=True):
                    into = results[k].triggered if step < len(triggered) else results[k].clean
                    into[rows] = values
            if go_on is not None and alive and step < len(steps) - 1:
                alive = sorted(go_on({k: results[k] for k in alive}, done))
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


def _parts(group: Group, which: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Return the parts that samples, (N,) bool, are run in.

    Returns:
        For each part, the indices of its samples, (n,) int64, sorted by their folds, and their
        places among all that are run.
    """
    rows = which.nonzero().flatten()
    order = group.folds[rows].argsort(stable=True)
    count = min(MOST_PARTS, max(PARTS, len(rows) // OF_PART))
    # Each part has samples of all folds.
    return [(rows[places], places) for places in (order[part::count] for part in range(count))]


def _run_part(
    route: _Route,
    repairs: Sequence[Sequence[Move]],
    group: Group,
    rows: Tensor,
    features: Tensor | None,
    places: Tensor,
) -> Tensor:
    """Return the logits of a part's samples, (repairs, n, classes).

    Args:
        route: how they are run.
        repairs: for each repair, its correction for each fold.
        group: where the samples are from.
        rows: their indices, (n,) int64, sorted by their folds.
        features: known features, (m, *S); None to compute them.
        places: the samples' places there, (n,) int64.
    """
    if len(rows) == 0:
        return torch.empty(len(repairs), 0, group.logits.shape[1])

    def run(part: Sequence[int]) -> Tensor:
        batch, place = (each[part[0] : part[-1] + 1] for each in (rows, places))
        folds = group.folds[batch]
        if route.behind is None:
            return route.run.on_inputs(repairs, group.load(batch), folds)
        known = route.run.features_of(group.load(batch)) if features is None else features[place]
        return _on_features(repairs, known, folds, route.behind, route.run.rows_of(known))

    size = min(TRIAL_BATCH, batch_of(group.samples.description))
    batches = fitting_batches(route.run.model, range(len(rows)), run, most=size)
    return torch.cat([logits for _, logits in batches], 1)


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
        if self.example.device.type != "cpu":
            return sys.maxsize
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
