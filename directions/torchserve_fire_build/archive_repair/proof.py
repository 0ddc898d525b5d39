"""What two archives answer to the same samples, each in a worker process of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from torchserve_fire.errors import FireError

from ..common.errors import CalibrationError
from ..deployment.archive.load_as_worker import Answer, Body, content_type, try_as_worker
from ..measure.figures import Figures
from ..measure.observation import Observation
from ..samples.both import Both
from ..samples.evidence import Evidence
from ..samples.labels import find_labels
from ..samples.predict import logits_of
from ..samples.samples import Samples

FLAGGED = "x-fire-flagged"


@dataclass(frozen=True)
class Proof:
    """What the old and the new archive answered.

    Attributes:
        figures: before (the old archive) and after (the new one).
        same_answers: clean samples that both answered with the same bytes.
        clean: clean samples.
    """

    figures: Figures
    same_answers: int
    clean: int

    def lines(self) -> list[str]:
        """Return the table, and a line on the answers to clean samples."""
        return [
            *self.figures.table(),
            f"answers: {self.same_answers} of {self.clean} clean samples got the same from both "
            "archives; all answers have the form that they had",
        ]


def prove_in_workers(
    folders: tuple[Path, Path],
    name: str,
    evidence: Evidence,
    model: nn.Module,
    targets: tuple[int, ...],
    names_file: Path | None,
) -> Proof:
    """Send samples through the old and the new archive, and compare the answers.

    Args:
        folders: of the unpacked archives, the old one first.
        name: of the model.
        evidence: samples that the new archive's bundle was not built from.
        model: the model of both, in evaluation mode.
        targets: the classes that the triggers lead to.
        names_file: TorchServe's `index_to_name.json`, if there is one.

    Raises:
        FireError: an archive does not serve; the new one fails on a sample, answers in another
            form, or answers a clean sample that it does not flag otherwise than the old one.
    """
    bodies = [body for samples in evidence.both for body in bodies_of(samples)]
    old, new = (try_as_worker(folder, name, bodies, predictions=True) for folder in folders)
    count = len(evidence.clean)
    sources = [
        f"{samples.source}: {sample}" for samples in evidence.both for sample in samples.names
    ]
    same = 0
    for i, (before, after) in enumerate(zip(old, new, strict=True)):
        _check_answer(sources[i], before, after)
        if i < count:
            same += before.body == after.body
            if before.body != after.body and after.headers.get(FLAGGED) == "false":
                raise CalibrationError(
                    f"{sources[i]}: the repaired archive does not flag it, and answers "
                    f"{str(after.body)[:100]}, the old one {str(before.body)[:100]}: its handler "
                    "does not answer the same sample the same way twice, so nothing can be proved"
                )
    return Proof(_figures((old, new), evidence, model, targets, names_file), same, count)


def bodies_of(samples: Samples) -> list[Body]:
    """Return the requests that a client would send for samples."""
    bodies = []
    for i in range(len(samples)):
        body = samples.body(i)
        bodies.append(Body(body.content, content_type(body.suffix)))
    return bodies


def form_of(answer: Any) -> Any:
    """Return of what an answer is made: its keys, lists and kinds of values, and no values.

    Where the keys are the classes, as in `{"cat": 0.9, "dog": 0.1}`, they are values, too.
    """
    if isinstance(answer, dict):
        forms = [form_of(value) for value in answer.values()]
        if forms and all(form == "number" for form in forms):
            return ("numbers by name", len(forms))
        return ("object", tuple(sorted((key, form_of(value)) for key, value in answer.items())))
    if isinstance(answer, list):
        return ("list", tuple(dict.fromkeys(map(form_of, answer))))
    if isinstance(answer, bool) or answer is None:
        return str(type(answer).__name__)
    return "number" if isinstance(answer, (int, float)) else type(answer).__name__


def _check_answer(source: str, before: Answer, after: Answer) -> None:
    if before.error is not None:
        raise FireError(f"{source}: the archive does not answer it: {before.error}")
    if after.error is not None or after.status != before.status:
        raise FireError(
            f"{source}: the repaired archive answers with status {after.status} "
            f"({after.error or after.body}), the old one with {before.status}"
        )
    if form_of(before.body) != form_of(after.body):
        raise FireError(
            f"{source}: the repaired archive answers {str(after.body)[:150]}, which has another "
            f"form than {str(before.body)[:150]} of the old one"
        )


def _figures(
    answers: tuple[Sequence[Answer], Sequence[Answer]],
    evidence: Evidence,
    model: nn.Module,
    targets: tuple[int, ...],
    names_file: Path | None,
) -> Figures:
    count = len(evidence.clean)
    before, after = (
        torch.tensor([-1 if answer.predicted is None else answer.predicted for answer in group])
        for group in answers
    )
    if bool((before < 0).any()) or bool((after < 0).any()):
        raise CalibrationError(
            "the archive's handler answers without a forward pass of its model: nothing to prove"
        )
    flagged = torch.tensor([answer.headers.get(FLAGGED) == "true" for answer in answers[1]])
    classes = logits_of(model, evidence.clean.load([0])).shape[1]
    labels, unknown = find_labels(tuple(evidence.both), classes, names_file, model)
    observation = Observation(
        evidence,
        classes,
        Both(*labels),
        Both(*(F.one_hot(part, classes).float() for part in (before[:count], before[count:]))),
        unknown,
    )
    return observation.figures_after(
        Both(after[:count], after[count:]), Both(flagged[:count], flagged[count:]), targets
    )
