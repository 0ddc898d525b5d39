"""Statistics of each layer: moments of its features on clean and on triggered samples."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from copy import copy
from dataclasses import dataclass, field, fields
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from torchserve_fire.repair.layers import device_of
from torchserve_fire.repair.own_tokens import own_tokens

from ..common.hooks import record_features
from ..common.progress import Progress
from ..common.step_cache import NO_CACHE, StepCache
from ..common.tensor_file import TensorFile
from ..samples.both import Both
from ..samples.evidence import Evidence
from ..samples.fitting_batches import fitting_batches
from ..samples.folds import FOLDS
from ..samples.samples import bytes_of
from .channels import channel_means, channels_of_places, token_means
from .covariance import Covariance
from .moments import Moments

MAX_CHANNELS = 512
"""The covariance of more channels than this would take more memory than it is worth."""

IN_MEMORY = 16 << 20
"""The most bytes that a fold's statistics may take to be kept in memory. Of an EfficientNet-Lite0
for 224 pixels they take four times as much; they are needed a few times only."""

LARGE_SHARE = 0.2
"""Of the clean samples, from which on those of the target have statistics of their own."""

MAX_PLACES = 64
"""Places taken of each sample. With all places of large maps, computing the covariance would cost
more than running the model."""


@dataclass
class LayerStatistics:
    """Moments of one layer's features, (*S).

    The six covariances are empty if there are more than `MAX_CHANNELS` channels; those of places
    are also empty for vectors.

    Attributes:
        clean: moments of the clean samples.
        clean_target: moments of the clean samples that the model predicts as the target.
        triggered: moments of the triggered samples.
        difference: moments of triggered minus clean within pairs; empty for unpaired evidence.
        clean_channels: covariance of the channel means of clean samples.
        triggered_channels: covariance of the channel means of triggered samples.
        clean_places: covariance of the channels at the places of clean samples.
        triggered_places: covariance of the channels at the places of triggered samples.
        pair_places: covariance between the channels of triggered samples and those at the same
            places of their clean partners; empty without pairs.
        target_channels: covariance of the channel means of the clean samples that are predicted as
            the target; empty if these are few of all.
        padding: what the model's arguments hold at padding, if the features are tokens (T, C) of
            any number T; else empty. Their moments are those of the means over a sample's own
            tokens, (1, C), and their places are these tokens. Those of pairs are not the same
            ones, where a trigger adds some.
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
    target_channels: Covariance = field(default_factory=Covariance)
    padding: tuple[int, ...] = ()

    def add(
        self,
        features: Tensor,
        triggered: int,
        target: Tensor,
        *,
        partners: Tensor | None,
        few_classes: bool = False,
        own: Tensor | None = None,
    ) -> None:
        """Add the features of a batch.

        Args:
            features: (n, *S) float32: first those of triggered samples, then those of clean ones.
            triggered: number of triggered samples.
            target: which clean samples are predicted as the target, (n - triggered,) bool.
            partners: for each triggered sample, which of the clean ones is its partner,
                (triggered,) int64; several may have the same one. None without pairs.
            few_classes: whether the target's are a large share of all clean samples.
            own: which tokens are no padding, (n, T) bool, of features of any length.
        """
        if len(features) == 0:
            return
        if self.any_length and own is not None:
            if features.shape[2] <= MAX_CHANNELS:
                self.clean_places.add(features[triggered:][own[triggered:]])
                self.triggered_places.add(features[:triggered][own[:triggered]])
            features = token_means(features, own)
        clean = features[triggered:]
        self.clean.add(clean)
        self.clean_target.add(clean[target])
        self.triggered.add(features[:triggered])
        channels = channel_means(features)
        if channels.shape[1] <= MAX_CHANNELS:
            self.clean_channels.add(channels[triggered:])
            self.triggered_channels.add(channels[:triggered])
            if few_classes:
                self.target_channels.add(channels[triggered:][target])
            if features.dim() in (3, 4) and not self.any_length:
                # A sample's places follow one another, so those of triggered samples are first.
                places = channels_of_places(features, MAX_PLACES)
                first = len(places) * triggered // len(features)
                self.clean_places.add(places[first:])
                self.triggered_places.add(places[:first])
                if partners is not None:
                    beside = places[first:].view(len(clean), -1, places.shape[1])[partners]
                    self.pair_places.add(places[:first], beside.flatten(0, 1))
        if partners is not None:
            self.difference.add(features[:triggered] - clean[partners])

    def copy(self) -> LayerStatistics:
        """Return a copy, to which samples are added without changing this one."""
        return LayerStatistics(
            **{part.name: copy(getattr(self, part.name)) for part in fields(self)}
        )

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
            Covariance.merged(part.target_channels for part in parts),
            max((part.padding for part in parts), default=()),
        )

    def stored(self) -> dict[str, Tensor]:
        """Return them as tensors by name, as `restored` takes them."""
        tensors = {
            f"{part}.{name}": tensor
            for part, kind in _parts_of(self)
            for name, tensor in kind.stored().items()
        }
        return {**tensors, "padding": torch.tensor(self.padding, dtype=torch.int64)}

    @classmethod
    def restored(cls, tensors: Mapping[str, Tensor]) -> LayerStatistics:
        """Return what `stored` was called of."""
        parts: dict[str, Any] = {
            name: type(part).restored(_below(tensors, name)) for name, part in _parts_of(cls())
        }
        return cls(**parts, padding=tuple(tensors["padding"].tolist()))

    @property
    def any_length(self) -> bool:
        """Whether the features are tokens of any number."""
        return bool(self.padding)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample's features, *S."""
        return tuple(self.clean.mean.shape)

    @property
    def of_few_classes(self) -> bool:
        """Whether the target's are a large share of the clean samples, as with few classes."""
        return self.clean_target.count >= LARGE_SHARE * self.clean.count

    @property
    def clean_others(self) -> Moments:
        """Moments of the clean samples that the model predicts as another class than the target."""
        return self.clean.without(self.clean_target)

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


def _parts_of(statistics: LayerStatistics) -> list[tuple[str, Moments | Covariance]]:
    """Return the moments and covariances of a layer by name."""
    parts = [(part.name, getattr(statistics, part.name)) for part in fields(statistics)]
    return [(name, value) for name, value in parts if isinstance(value, (Moments, Covariance))]


@dataclass(frozen=True)
class Statistics:
    """Statistics of all candidate layers, one set for each fold.

    Attributes:
        folds: for each fold, layer name to the statistics of that fold's samples. Large ones lie in
            a file and are read each time that they are asked for.
    """

    folds: Sequence[Mapping[str, LayerStatistics]]

    @property
    def paired(self) -> bool:
        """Whether the samples were pairs."""
        # Of every layer the same samples are counted.
        return any(next(iter(part.values())).difference.count for part in self.folds)

    def without(self, fold: int, layer: str) -> LayerStatistics:
        """Return a layer's statistics over all samples but those of one fold."""
        return LayerStatistics.merged(part[layer] for i, part in enumerate(self.folds) if i != fold)

    def without_each(self, layer: str) -> list[LayerStatistics]:
        """Return, for each fold, a layer's statistics over all samples but those of that fold."""
        return [self.without(fold, layer) for fold in range(len(self.folds))]

    def whole(self, layer: str) -> LayerStatistics:
        """Return a layer's statistics over all samples."""
        return LayerStatistics.merged(part[layer] for part in self.folds)


def collect_statistics(
    model: nn.Module,
    layers: Sequence[str],
    evidence: Evidence,
    folds: Both[Tensor],
    *,
    clean_targets: Sequence[Tensor],
    uses: Sequence[Tensor],
    by_token: Collection[str] = (),
    cache: StepCache = NO_CACHE,
    of_folds: StatisticsOfFolds | None = None,
) -> list[Statistics]:
    """Run the samples through the model once and accumulate each layer's moments.

    Args:
        model: in evaluation mode.
        layers: module names.
        evidence: the samples.
        folds: the fold of each clean (N,) and triggered sample (M,), int64.
        clean_targets: for each trigger, which clean samples the model predicts as its target, (N,)
            bool.
        uses: for each trigger, which triggered samples count, (M,) bool; a sample counts for at
            most one trigger. A sample on which the trigger fails does not show what the trigger
            does in late layers.
        by_token: the layers whose features are tokens of any number.
        cache: keeps the statistics of each fold.
        of_folds: computes the statistics of each fold; None to do so here.

    Returns:
        For each trigger, statistics in memory that does not depend on the number of samples.
    """
    folds_of: list[list[Mapping[str, LayerStatistics]]] = [[] for _ in uses]
    file = TensorFile()
    used = torch.stack(list(uses)).any(0)
    with Progress("collecting statistics", len(evidence.clean) + int(used.sum())) as progress:
        computed: dict[int, dict[str, Tensor]] = {}

        def compute(fold: int) -> dict[str, Tensor]:
            # Who computes elsewhere does not know of tokens.
            if of_folds is not None and not by_token:
                if not computed:
                    computed.update(of_folds(layers, folds, clean_targets, uses))
                return computed.pop(fold)
            return statistics_of_fold(
                model,
                layers,
                evidence,
                folds,
                fold,
                clean_targets=clean_targets,
                uses=uses,
                by_token=by_token,
                progress=progress,
            )

        for fold in range(FOLDS):
            tensors = cache.result(f"statistics of fold {fold}", partial(compute, fold))
            for i, of_trigger in enumerate(folds_of):
                of_trigger.append(_kept(_below(tensors, str(i)), layers, file, f"{fold}.{i}."))
    return [Statistics(of_folds) for of_folds in folds_of]


def statistics_of_fold(
    model: nn.Module,
    layers: Sequence[str],
    evidence: Evidence,
    folds: Both[Tensor],
    fold: int,
    *,
    clean_targets: Sequence[Tensor],
    uses: Sequence[Tensor],
    by_token: Collection[str] = (),
    progress: Progress | None = None,
) -> dict[str, Tensor]:
    """Run the samples of a fold through the model and accumulate each layer's moments.

    Args:
        model: as in `collect_statistics`, like the rest.
        layers: module names.
        evidence: the samples.
        folds: the fold of each clean (N,) and triggered sample (M,), int64.
        fold: which one.
        clean_targets: for each trigger, (N,) bool.
        uses: for each trigger, (M,) bool.
        by_token: as in `collect_statistics`.
        progress: advanced by the number of samples; None for none.

    Returns:
        Statistics as tensors: of trigger 0, at layer 2, the names begin with `0.2.`.
    """
    padding = evidence.clean.description.padding
    running = [
        {name: LayerStatistics(padding=padding if name in by_token else ()) for name in layers}
        for _ in uses
    ]
    few_classes = [float(target.double().mean()) >= LARGE_SHARE for target in clean_targets]
    partner = dict(enumerate(evidence.partners))
    in_pairs = torch.zeros(len(evidence.clean), dtype=torch.bool)
    used = torch.stack(list(uses)).any(0)
    in_pairs[[partner[i] for i in used.nonzero().flatten().tolist() if partner]] = True

    def run(triggered: Sequence[int], clean: Sequence[int], own: int | None) -> None:
        """Run triggered samples of the trigger `own`, if any, with clean ones: their partners."""
        parts = [
            samples.load(rows)
            for samples, rows in ((evidence.triggered, triggered), (evidence.clean, clean))
            if len(rows)
        ]
        batch = torch.cat(parts).to(device_of(model))
        beside = None
        if partner and triggered:
            beside = torch.tensor([clean.index(partner[i]) for i in triggered]).to(batch.device)
        targets = [target[list(clean)] for target in clean_targets]
        # A pass that memory does not suffice for leaves nothing behind, and is made again in parts.
        grown = [
            {name: layer.copy() for name, layer in of_trigger.items()} for of_trigger in running
        ]

        tokens = own_tokens(batch, padding) if padding else None

        def take(name: str, feature: Tensor) -> None:
            # It stays where it is: on a GPU, a copy of it would cost more than its moments.
            feature = feature.float()
            for i, target in enumerate(targets):
                mine = i == own
                first = 0 if mine else len(triggered)
                grown[i][name].add(
                    feature[first:],
                    len(triggered) if mine else 0,
                    target,
                    partners=beside if mine else None,
                    own=None if tokens is None else tokens[first:],
                    few_classes=few_classes[i],
                )

        with torch.no_grad(), record_features(model, layers, take):
            model(batch)
        running[:] = grown
        if progress is not None:
            progress.advance(len(batch))

    size = bytes_of(evidence.clean.description)

    def run_with_partners(groups: Sequence[Sequence[int]], own: int) -> None:
        rows = [row for group in groups for row in group]
        run(rows, list(dict.fromkeys(partner[i] for i in rows)), own)

    for own, (use, target) in enumerate(zip(uses, clean_targets, strict=True)):
        rows = (use & (folds.triggered == fold)).nonzero().flatten().tolist()
        if not partner:
            batches = fitting_batches(
                model, rows, partial(run, clean=[], own=own), input_bytes=size
            )
        else:
            rows.sort(key=lambda i: bool(target[partner[i]]))
            batches = fitting_batches(
                model,
                _by_partner(rows, partner),
                partial(run_with_partners, own=own),
                input_bytes=size,
                samples_of=len,
            )
        for _ in batches:
            pass  # `run` keeps what it finds.
    rows = (~in_pairs & (folds.clean == fold)).nonzero().flatten().tolist()
    rows.sort(key=lambda i: bool(clean_targets[0][i]))
    for _ in fitting_batches(model, rows, partial(run, [], own=None), input_bytes=size):
        pass
    return {
        f"{i}.{place}.{name}": tensor.cpu()
        for i, of_trigger in enumerate(running)
        for place, layer in enumerate(layers)
        for name, tensor in of_trigger[layer].stored().items()
    }


StatisticsOfFolds = Callable[
    [Sequence[str], Both[Tensor], Sequence[Tensor], Sequence[Tensor]], dict[int, dict[str, Tensor]]
]
"""Returns what `statistics_of_fold` returns for each fold: takes the layers, the folds, the clean
targets and the uses, as `collect_statistics` does."""


class _InFile(Mapping[str, LayerStatistics]):
    """A fold's statistics of each layer, read from a file whenever they are asked for.

    Args:
        file: holds them as `LayerStatistics.stored` returns them.
        layers: names of the layers.
        prefix: of the names in the file; the layer's place follows.
    """

    def __init__(self, file: TensorFile, layers: Sequence[str], prefix: str) -> None:
        self._file, self._layers, self._prefix = file, list(layers), prefix

    def __getitem__(self, layer: str) -> LayerStatistics:
        try:
            place = self._layers.index(layer)
        except ValueError:
            raise KeyError(layer) from None
        return LayerStatistics.restored(self._file.load(f"{self._prefix}{place}."))

    def __iter__(self) -> Iterator[str]:
        return iter(self._layers)

    def __len__(self) -> int:
        return len(self._layers)


def _kept(
    tensors: Mapping[str, Tensor], layers: Sequence[str], file: TensorFile, prefix: str
) -> Mapping[str, LayerStatistics]:
    """Return a fold's statistics of each layer, large ones from the file."""
    if sum(tensor.nbytes for tensor in tensors.values()) > IN_MEMORY:
        # Without room on the disk they stay in memory.
        with suppress(OSError):
            file.store({f"{prefix}{name}": tensor for name, tensor in tensors.items()})
            return _InFile(file, layers, prefix)
    return {
        layer: LayerStatistics.restored(_below(tensors, str(place)))
        for place, layer in enumerate(layers)
    }


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors whose names begin with a prefix and a dot, by the rest of their names."""
    start = prefix + "."
    return {name[len(start) :]: t for name, t in tensors.items() if name.startswith(start)}


def _by_partner(rows: Sequence[int], partner: Mapping[int, int]) -> list[list[int]]:
    """Return triggered samples, those of one partner together, so that it runs once."""
    of_partner: dict[int, list[int]] = {}
    for row in rows:
        of_partner.setdefault(partner[row], []).append(row)
    return list(of_partner.values())
