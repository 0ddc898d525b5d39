"""What two archives answer to the same samples, each in a worker process of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from torchserve_fire.errors import FireError

from ..common.errors import CalibrationError
from ..deployment.archive.load_as_worker import CPU, Answer, Body, content_type, try_as_worker
from ..measure.evaluate import Evaluation
from ..measure.figures import Figures
from ..measure.observation import Observation
from ..samples.both import Both
from ..samples.class_label import Label
from ..samples.evidence import Evidence
from ..samples.samples import Samples
from .answer_form import have_same_form

BUNDLE = "x-fire-bundle"
FLAGGED = "x-fire-flagged"
REPAIRED = "x-fire-repaired"

NOT_REPAIRED = (
    "its mode only tells or refuses what is flagged, and repairs nothing: after repair, what is "
    "predicted is what was predicted before"
)


@dataclass(frozen=True)
class HeldOut:
    """Samples that the new archive's bundle was not built from.

    Attributes:
        evidence: the samples.
        parameter: of a request, in which the handler looks for the body.
        classes: number of classes of the model.
        targets: the classes that the triggers lead to.
        labels: of the clean and of the triggered samples; None if unknown.
        unknown: the reason why no labels are known; empty if some are known.
        label: says what a class is called.
    """

    evidence: Evidence
    parameter: str
    classes: int
    targets: tuple[int, ...]
    labels: Both[Tensor | None]
    unknown: str
    label: Label = str


@dataclass(frozen=True)
class Proof:
    """What the old and the new archive answered.

    Attributes:
        evaluation: before (the old archive) and after (the new one), sample by sample.
        same_answers: clean samples that both answered with the same bytes.
        same_predictions: clean samples for which both models' logits were the same to the bit.
        clean: clean samples.
        repairs: whether what was flagged was repaired.
    """

    evaluation: Evaluation
    same_answers: int
    same_predictions: int
    clean: int
    repairs: bool = True

    @property
    def figures(self) -> Figures:
        """The figures before and after."""
        return self.evaluation.figures

    def lines(self) -> list[str]:
        """Return the table, and lines on the answers."""
        lines = [
            *self.figures.table(self.evaluation.observation.label),
            f"answers: {self.same_answers} of {self.clean} clean samples got the same from both "
            "archives; all answers have the form that they had",
        ]
        if self.same_answers < self.same_predictions:
            lines.append(
                f"         {self.same_predictions} of {self.clean} were predicted the same to the "
                "bit: answers hold something that changes from call to call"
            )
        return lines if self.repairs else [*lines, NOT_REPAIRED]


def prove_in_workers(
    folders: tuple[Path, Path],
    name: str,
    digest: str,
    held_out: HeldOut,
    device: torch.device = CPU,
) -> Proof:
    """Send samples through the old and the new archive, and compare the answers.

    Args:
        folders: of the unpacked archives, the old one first.
        name: of the model.
        digest: of the new archive's bundle.
        held_out: the samples.
        device: that the workers are told to use.

    Raises:
        FireError: an archive does not serve; the new one fails on a sample, does not answer through
            its bundle, answers in another form, or predicts otherwise than the old one for a clean
            sample that neither flags.
    """
    evidence = held_out.evidence
    bodies = [body for samples in evidence.both for body in bodies_of(samples, held_out.parameter)]
    # The new one first: it has not run yet.
    new, old = (
        try_as_worker(folder, name, bodies, predictions=True, device=device)
        for folder in reversed(folders)
    )
    sources = [
        f"{samples.source}: {sample}" for samples in evidence.both for sample in samples.names
    ]
    count = len(evidence.clean)
    for i, (before, after) in enumerate(zip(old, new, strict=True)):
        _check_answer(sources[i], before, after, digest)
        if i < count and not _is_flagged(before) and not _is_flagged(after):
            _check_same(sources[i], before, after)
    pairs = list(zip(old[:count], new[:count], strict=True))
    return Proof(
        _evaluation((old, new), held_out),
        sum(before.body == after.body for before, after in pairs),
        sum(before.logits == after.logits for before, after in pairs),
        count,
        all(after.headers.get(REPAIRED) == "true" for after in new if _is_flagged(after)),
    )


def bodies_of(samples: Samples, parameter: str = "body") -> list[Body]:
    """Return the requests that a client would send for samples."""
    bodies = []
    for i in range(len(samples)):
        body = samples.body(i)
        bodies.append(Body(body.content, content_type(body.suffix), parameter))
    return bodies


def _is_flagged(answer: Answer) -> bool:
    return answer.headers.get(FLAGGED) == "true"


def _is_refused(answer: Answer) -> bool:
    """Whether mode `reject` refused what was flagged."""
    return answer.status == HTTPStatus.UNPROCESSABLE_ENTITY and _is_flagged(answer)


def _check_answer(source: str, before: Answer, after: Answer, digest: str) -> None:
    if before.error is not None or before.predicted is None:
        reason = before.error or "it predicts nothing for it"
        raise FireError(f"{source}: the archive does not answer it: {reason}")
    refused = _is_refused(before) or _is_refused(after)
    if after.error is not None or (after.status != before.status and not refused):
        raise FireError(
            f"{source}: the repaired archive answers with status {after.status} "
            f"({after.error or after.body}), the old one with {before.status}"
        )
    if after.headers.get(BUNDLE) != digest or FLAGGED not in after.headers:
        raise FireError(
            f"{source}: the repaired archive does not judge it by its bundle: its handler must "
            "answer a batch with one forward pass of self.model, one sample per request"
        )
    if not refused and not have_same_form(before.body, after.body):
        raise FireError(
            f"{source}: the repaired archive answers {str(after.body)[:150]}, which has another "
            f"form than {str(before.body)[:150]} of the old one"
        )


def _check_same(source: str, before: Answer, after: Answer) -> None:
    if before.logits != after.logits:
        raise CalibrationError(
            f"{source}: flagged by neither archive, and predicted otherwise by the repaired one "
            f"({after.predicted}, before {before.predicted}): the handler prepares one sample "
            "otherwise from call to call, so nothing can be proved"
        )


def _evaluation(
    answers: tuple[Sequence[Answer], Sequence[Answer]], held_out: HeldOut
) -> Evaluation:
    evidence, classes = held_out.evidence, held_out.classes
    count = len(evidence.clean)
    before, after = (torch.tensor([answer.predicted for answer in group]) for group in answers)
    flagged = torch.tensor([_is_flagged(answer) for answer in answers[1]])
    observation = Observation(
        evidence,
        classes,
        held_out.labels,
        Both(*(F.one_hot(part, classes).float() for part in (before[:count], before[count:]))),
        held_out.unknown,
        held_out.label,
    )
    predictions = Both(after[:count], after[count:])
    judged = Both(flagged[:count], flagged[count:])
    figures = observation.figures_after(predictions, judged, held_out.targets)
    return Evaluation(figures, observation, predictions, judged)
