"""Building one defence from one draw, and measuring it on the test samples."""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from torchserve_fire.errors import FireError, first_line

from ..building.build_options import BuildOptions
from ..building.from_samples import build_from_evidence
from ..common.names import OURS
from ..rivals.catalogue import RIVALS
from ..rivals.random_crops import cropping
from ..rivals.repaired import defend
from ..rivals.rival import Answers, Defence, Granted, RivalNotApplicable, answer_with, join_answers
from ..samples.both import Both
from ..samples.evidence import Evidence
from ..samples.samples import Samples, iterate
from ..sanitize.labelled_samples import LabelledSamples
from .outcome import Measured, Outcome
from .quiet import quiet
from .request_time import REQUESTS, request_time_ratio
from .subject import Subject

logger = logging.getLogger(__name__)


class DefenceFailed(Exception):  # noqa: N818 - it becomes a row of the table
    """A defence raised something else than an error of this project; the message is a line.

    It may be the machine's fault, such as memory that ran out, so it is not kept.
    """


def measure_defence(name: str, subject: Subject, drawn: Evidence, seed: int) -> Outcome:
    """Build a defence from a draw, and measure it; where it cannot be built, say why.

    Args:
        name: of the defence.
        subject: the model and the samples.
        drawn: the calibration samples of this draw.
        seed: of the random numbers.

    Raises:
        DefenceFailed: it raised something that is no error of this project.
    """
    with quiet():
        try:
            start = time.monotonic()
            defence = _build(name, subject, drawn, seed)
            return Outcome(_measure(defence, subject, time.monotonic() - start))
        except RivalNotApplicable as error:
            return Outcome(not_applicable=str(error))
        except FireError as error:
            return Outcome(failed=first_line(error))
        except Exception as error:  # Whatever the code of a defence raises on a foreign model.
            raise DefenceFailed(first_line(error)) from error


def _build(name: str, subject: Subject, drawn: Evidence, seed: int) -> Defence:
    if name == OURS:
        target = subject.targets[0] if subject.single else None
        options = BuildOptions(target=target, seed=seed, accept_accuracy=True)
        built = build_from_evidence(subject.loaded, drawn, options)
        return defend(_model_of_its_own(subject), built.bundle)
    generator = torch.Generator().manual_seed(seed)
    return RIVALS[name](subject.model, _grant(subject, drawn), generator)


def _model_of_its_own(subject: Subject) -> nn.Module:
    """Return the model once more: a copy, or loaded again where it cannot be copied."""
    try:
        return copy.deepcopy(subject.model)
    except Exception:  # As torch.export programs do, which hold symbolic tensors.
        return subject.reload()


def _grant(subject: Subject, drawn: Evidence) -> Granted:
    pool = subject.calibration.clean
    return Granted(
        drawn,
        drawn.both.map(_labels),
        subject.targets[0] if subject.single else None,
        LabelledSamples(pool, _labels(pool)),
        subject.test.classes,
        cropping(pool.description),
        _fresh(subject.model),
    )


def _labels(samples: Samples) -> Tensor:
    if samples.labels is None:
        raise ValueError(f"{samples.source}: a subject's samples have labels")
    return samples.labels


def _fresh(model: nn.Module) -> Callable[[], nn.Module]:
    """Return what builds a model with first weights: its class, if that needs no arguments."""
    kind = type(model)

    def build() -> nn.Module:
        try:
            return kind()
        except Exception as error:  # A class that is built in another way raises what it likes.
            raise RivalNotApplicable(
                f"{kind.__name__} cannot be built without arguments, to be trained anew"
            ) from error

    return build


def _measure(defence: Defence, subject: Subject, build_seconds: float) -> Measured:
    test = subject.test
    clean, triggered = (_answer_all(defence, samples) for samples in test.evidence.both)
    flagged = None
    if clean.flagged is not None and triggered.flagged is not None:
        flagged = Both(clean.flagged, triggered.flagged)
    predictions = Both(clean.predictions, triggered.predictions)
    figures = test.figures_after(predictions, flagged, subject.targets)
    if figures.recovered_accuracy is None:
        raise ValueError("a subject's samples have labels")
    samples = test.evidence.clean
    inputs = samples.load(range(min(REQUESTS, len(samples))))
    flagged_clean, flagged_triggered = figures.flagged or (None, None)
    return Measured(
        clean_accuracy=figures.clean_accuracy[1],
        attack_success_rate=figures.attack_success_rate[1],
        recovered_accuracy=figures.recovered_accuracy[1],
        flagged_clean=flagged_clean,
        flagged_triggered=flagged_triggered,
        passes_clean=float(clean.passes.mean()),
        passes_triggered=float(triggered.passes.mean()),
        build_seconds=build_seconds,
        time_ratio=request_time_ratio(defence, answer_with(subject.model), inputs),
    )


def _answer_all(defence: Defence, samples: Samples) -> Answers:
    return join_answers([defence(inputs) for _, inputs in iterate(samples, range(len(samples)))])
