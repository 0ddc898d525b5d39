"""What calibration knows of each layer: moments of clean and of triggered features."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ..common.hooks import record_features
from ..common.progress import Progress
from ..samples.evidence import Evidence
from ..samples.folds import FOLDS, Folds
from ..samples.predict import device_of
from ..samples.samples import iterate
from .channels import channel_means, channels_of_places
from .covariance import Covariance
from .moments import Moments

MAX_CHANNELS = 512
"""A covariance of more channels than that would take more memory than it is worth."""

MAX_PLACES = 64
"""Of each sample: with all places of large maps, their covariance costs more than the model."""


@dataclass
class LayerStatistics:
    """Moments of one layer's features, (*S).

    Attributes:
        clean: of clean samples.
        clean_target: of those among them that the model predicts as the target.
        triggered: of triggered samples.
        difference: of triggered minus clean within pairs; empty for unpaired evidence.
        clean_channels: of the channel means of clean samples; empty for very many channels.
        triggered_channels: of the channel means of triggered samples, likewise.
        clean_places: of the channels at the places of clean samples, likewise; empty for vectors.
        triggered_places: of those of triggered samples, likewise.
        pair_places: of those of triggered samples with those at the same places of their clean
            partners, likewise; empty without pairs.
    """

    clean: Moments = field(default_factory=Moments)
    clean_target: Moments = field(default_factory=Moments)
    triggered: Moments = field(default_factory=Moments)
    difference: Moments = field(default_factory=Moments)
    clean_channels: Covariance = field(default_factory=Covariance)
    triggered_channels: Covariance = field(default_factory=Covariance)
    clean_places: Covariance = field(default_factory=Covariance)
    triggered_places: Covariance = field(default_factory=Covariance)
    pair_places: Covariance = field(default_factory=Covariance)

    @classmethod
    def merged(cls, parts: Iterable[LayerStatistics]) -> LayerStatistics:
        """Return the statistics of several sets of samples together."""
        parts = list(parts)
        return cls(
            Moments.merged(part.clean for part in parts),
            Moments.merged(part.clean_target for part in parts),
            Moments.merged(part.triggered for part in parts),
            Moments.merged(part.difference for part in parts),
            Covariance.merged(part.clean_channels for part in parts),
            Covariance.merged(part.triggered_channels for part in parts),
            Covariance.merged(part.clean_places for part in parts),
            Covariance.merged(part.triggered_places for part in parts),
            Covariance.merged(part.pair_places for part in parts),
        )

    @property
    def mean_difference(self) -> Tensor:
        """Mean of triggered minus clean features, (*S)."""
        if self.difference.count:
            return self.difference.mean
        return self.triggered.mean - self.clean.mean

    @property
    def standard_error(self) -> Tensor:
        """Standard error of each coordinate of the mean difference, (*S)."""
        if self.difference.count:
            return (self.difference.variance / self.difference.count).sqrt()
        clean = self.clean.variance / max(self.clean.count, 1)
        return (clean + self.triggered.variance / max(self.triggered.count, 1)).sqrt()

    @property
    def pooled_variance(self) -> Tensor:
        """Variance within the clean and within the triggered samples, pooled, (*S)."""
        clean, triggered = self.clean, self.triggered
        total = clean.variance * clean.count + triggered.variance * triggered.count
        return total / max(clean.count + triggered.count, 1)


@dataclass(frozen=True)
class Statistics:
    """Statistics of all candidate layers, one set for each fold.

    Attributes:
        folds: for each fold, layer name to the statistics of that fold's samples.
    """

    folds: Sequence[dict[str, LayerStatistics]]

    @property
    def paired(self) -> bool:
        """Whether they are of pairs."""
        return any(layer.difference.count for part in self.folds for layer in part.values())

    def without(self, fold: int, layer: str) -> LayerStatistics:
        """Return a layer's statistics over all samples but those of one fold."""
        return LayerStatistics.merged(part[layer] for i, part in enumerate(self.folds) if i != fold)

    def whole(self, layer: str) -> LayerStatistics:
        """Return a layer's statistics over all samples."""
        return LayerStatistics.merged(part[layer] for part in self.folds)


def collect_statistics(
    model: nn.Module,
    layers: Sequence[str],
    evidence: Evidence,
    folds: Folds,
    *,
    clean_target: Tensor,
    use: Tensor,
    progress: Progress,
) -> Statistics:
    """Run the samples through the model once and accumulate each layer's moments.

    Args:
        model: in evaluation mode.
        layers: module names.
        evidence: the samples.
        folds: the fold of each sample.
        clean_target: which clean samples the model predicts as the target, (N,) bool.
        use: which triggered samples count, (M,) bool; a sample on which the trigger fails says
            nothing about what the trigger does in late layers.
        progress: told how many samples were done.

    Returns:
        Statistics in memory that does not depend on the number of samples.
    """
    parts = [{name: LayerStatistics() for name in layers} for _ in range(FOLDS)]
    device = device_of(model)
    partner = dict(enumerate(evidence.partners))
    in_pairs = torch.zeros(len(evidence.clean), dtype=torch.bool)
    in_pairs[[partner[i] for i in use.nonzero().flatten().tolist() if partner]] = True

    for fold in range(FOLDS):
        triggered = (use & (folds.triggered == fold)).nonzero().flatten().tolist()
        clean = (~in_pairs & (folds.clean == fold)).nonzero().flatten().tolist()
        # Those of a kind follow one another, so that features need not be picked out one by one.
        clean.sort(key=lambda i: bool(clean_target[i]))
        if partner:
            triggered.sort(key=lambda i: bool(clean_target[partner[i]]))
        for rows, batch in iterate(evidence.triggered, triggered):
            beside = [partner[i] for i in rows] if partner else []
            if beside:
                batch = torch.cat([batch, evidence.clean.load(beside)])
            target = int(clean_target[beside].sum())
            take = _receiver(parts[fold], len(rows), target, paired=bool(beside))
            with torch.no_grad(), record_features(model, layers, take):
                model(batch.to(device))
            progress.advance(len(batch))
        for rows, batch in iterate(evidence.clean, clean):
            target = int(clean_target[list(rows)].sum())
            take = _receiver(parts[fold], 0, target, paired=False)
            with torch.no_grad(), record_features(model, layers, take):
                model(batch.to(device))
            progress.advance(len(batch))
    return Statistics(parts)


def _receiver(
    part: dict[str, LayerStatistics], triggered: int, target: int, *, paired: bool
) -> Callable[[str, Tensor], None]:
    """Return what takes in the features of a batch.

    Args:
        part: where they go.
        triggered: so many samples come first, and clean ones after them.
        target: so many of the clean ones, the last, are predicted as the target.
        paired: whether the clean ones are the partners of the triggered ones, in their order.
    """

    def take(name: str, feature: Tensor) -> None:
        layer, feature = part[name], feature.float().cpu()
        clean = feature[triggered:]
        layer.clean.add(clean)
        layer.clean_target.add(clean[len(clean) - target :])
        layer.triggered.add(feature[:triggered])
        channels = channel_means(feature)
        if channels.shape[1] <= MAX_CHANNELS:
            layer.clean_channels.add(channels[triggered:])
            layer.triggered_channels.add(channels[:triggered])
            if feature.dim() in (3, 4):
                # A sample's places follow one another: those of triggered samples come first.
                places = channels_of_places(feature, MAX_PLACES)
                first = len(places) * triggered // len(feature)
                layer.clean_places.add(places[first:])
                layer.triggered_places.add(places[:first])
                if paired:
                    layer.pair_places.add(places[:first], places[first:])
        if paired:
            layer.difference.add(feature[:triggered] - clean)

    return take
