"""The model whose defences are compared, with the samples to build from and to measure on."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from torchserve_fire.model.load_model import LoadedModel

from ..common.errors import SamplesError
from ..measure.fit_to_model import check_observed
from ..measure.observation import Observation, observe, refuse_swapped
from ..measure.target import check_target
from ..samples.evidence import Evidence, gather_evidence
from ..samples.kept import keep_decoded
from ..samples.labels import require_labels
from ..samples.predict import logits_of
from ..samples.samples import Samples, iterate, require_samples
from .parts import hold_out_half
from .sample_digests import sample_digests

logger = logging.getLogger(__name__)

BY_CHANCE = 0.5
"""Of rows to measure on, at most this share may equal rows to build from: of few columns, or such
of few values, rows are equal by chance. Two images are not."""


@dataclass(frozen=True)
class Subject:
    """A model, and samples with their true classes.

    Attributes:
        loaded: the model.
        reload: loads it again.
        calibration: what defences may be built from.
        test: what they are measured on, with the unrepaired model's answers.
        targets: the classes that the triggers lead to.
        single: whether it is one class.
        held_out: whether the test samples are half of what was given, held out.
        pass_seconds: what one sample takes in a forward pass of a batch, as measured here.
    """

    loaded: LoadedModel
    reload: Callable[[], nn.Module]
    calibration: Evidence
    test: Observation
    targets: tuple[int, ...]
    single: bool
    held_out: bool
    pass_seconds: float

    @property
    def model(self) -> nn.Module:
        """The unrepaired model."""
        return self.loaded.model


@dataclass(frozen=True)
class Given:
    """Samples as the user gives them.

    Attributes:
        clean: clean samples to build from.
        triggered: triggered ones.
        test: clean and triggered ones to measure on; None to hold out half of the others.
    """

    clean: Samples
    triggered: Samples
    test: tuple[Samples, Samples] | None = None


def read_subject(
    loaded: LoadedModel,
    given: Given,
    *,
    reload: Callable[[], nn.Module],
    names_file: Path | None,
    unpaired: bool,
    target: int | None,
    seed: int,
    accept_accuracy: bool,
) -> Subject:
    """Find labels, pairs and target, and measure the unrepaired model.

    Args:
        loaded: the model.
        given: the samples.
        reload: loads the model again, for what cannot be copied.
        names_file: TorchServe's `index_to_name.json`, if there is one.
        unpaired: whether to take triggered samples as unpaired, whatever they are called.
        target: the class that the trigger leads to; None to find it.
        seed: of what is held out.
        accept_accuracy: as of `build_bundle`.

    Raises:
        SamplesError: the samples cannot be used, have no labels, are too few, show no trigger, or
            are measured on and built from at once.
        CalibrationError: the model fails, or has no such target.
    """
    groups = _with_labels(
        [given.clean, given.triggered, *(given.test or ())], loaded.model, names_file
    )
    evidence = gather_evidence(groups[0], groups[1], unpaired=unpaired)
    if given.test is None:
        calibration, test = hold_out_half(evidence, seed)
    else:
        calibration = evidence
        test = gather_evidence(groups[2], groups[3], unpaired=unpaired)
        for seen, measured in zip(calibration.both, test.both, strict=True):
            _refuse_same(seen, measured)
    observed = observe(loaded.model, test, labelled=True)
    refuse_swapped(observed)
    check_observed(loaded.model, observed, accept=accept_accuracy)
    if observed.find_where_led() is None:
        raise SamplesError(
            f"{test.triggered.source}: the model predicts these samples as it predicts clean ones: "
            "expected samples with a trigger of this model"
        )
    if target is not None:
        check_target(target, observed.classes)
        targets, single = [target], True
    else:
        found = observe(loaded.model, calibration, labelled=True).find_where_led()
        if found is None:
            raise SamplesError(
                f"{calibration.triggered.source}: the model predicts these samples as it predicts "
                "clean ones: expected samples with a trigger of this model"
            )
        targets, single = list(found.targets), found.single
    return Subject(
        loaded,
        reload,
        calibration,
        observed,
        tuple(targets),
        single,
        given.test is None,
        _pass_seconds(loaded.model, test.clean),
    )


def _pass_seconds(model: nn.Module, samples: Samples) -> float:
    """Return what one sample takes in a forward pass of a batch, without reading it."""
    _, inputs = next(iterate(samples, range(len(samples))))
    logits_of(model, inputs)
    start = time.monotonic()
    logits_of(model, inputs)
    return (time.monotonic() - start) / len(inputs)


def _with_labels(
    groups: Sequence[Samples], model: nn.Module, names_file: Path | None
) -> list[Samples]:
    """Return the samples with their true classes, as numbers: parts of them may lack a class."""
    require_samples(*groups)
    kept = [keep_decoded(samples) for samples in groups]
    classes = logits_of(model, kept[0].load([0])).shape[1]
    labels = require_labels(kept, classes, names_file, model)
    for samples, own in zip(kept, labels, strict=True):
        samples.labels, samples.class_names, samples.names_file = own, None, None
    return kept


def _refuse_same(seen: Samples, measured: Samples) -> None:
    known = set(sample_digests(seen))
    same = sum(digest in known for digest in sample_digests(measured))
    if measured.description.table is not None and same <= BY_CHANCE * len(measured):
        if same:
            logger.info(
                f"{measured.source}: {same} of {len(measured)} rows to measure on equal one to "
                f"build from, {seen.source}, as the model takes them"
            )
    elif same:
        raise SamplesError(
            f"{measured.source}: {same} of {len(measured)} samples to measure on are among those "
            f"to build from, {seen.source}: expected others; without --test-clean and "
            "--test-triggered, half of the samples are held out"
        )
