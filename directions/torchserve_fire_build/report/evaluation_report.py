"""The report on what a bundle does to samples that its build never saw."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from ..measure.evaluate import Evaluation
from ..measure.figures import COLUMNS, Figures, class_list
from ..samples.class_label import Label
from .contact_sheet import can_be_displayed
from .html_report import Picture, Report, SampleTable, Table
from .thumbnails import side_by_side, thumbnails

EXAMPLES = 12
"""Triggered samples that are shown larger."""

MOST_THUMBNAILS = 1000
"""Of more samples, none has a picture in the table: the page would be large."""

NEAR_NATURAL = 0.03
"""So far above the natural rate, an attack success rate is called gone."""

NEAR_CEILING = 0.95
"""Such a share of the ceiling is called recovered."""

LITTLE_LOST = 0.01
"""Of the clean accuracy."""

NOTE = (
    "The interval is that of the figure after repair: with other such samples it would be there "
    "in 95 of 100 cases. The natural rate is the share of clean samples of other classes that the "
    "model calls the target anyway. The ceiling is the accuracy on the same samples without the "
    "trigger."
)


def evaluation_report(
    evaluation: Evaluation, label: Label, title: str, provenance: Mapping[str, str]
) -> Report:
    """Return the report.

    Args:
        evaluation: of a bundle.
        label: says what a class is called.
        title: what was measured.
        provenance: what it takes to do it again.
    """
    figures = evaluation.figures
    verdict, tone = repair_verdict(figures, label)
    if evaluation.doubt:
        verdict, tone = f"{verdict} But before repair, {evaluation.doubt}.", "unsure"
    return Report(
        title,
        verdict,
        tone,
        [Table("Figures", ("", *COLUMNS), figures.rows(), NOTE), *_flagged(figures)],
        {"figures": figures.to_json()},
        provenance,
        pictures=_examples(evaluation, label),
        samples=_samples(evaluation, label),
    )


def repair_verdict(figures: Figures, label: Label = str) -> tuple[str, str]:
    """Return what came of the repair in a sentence, and the tone of it.

    Args:
        figures: before repair and after.
        label: says what a class is called.
    """
    before, after = figures.attack_success_rate
    natural = figures.natural_rate[0] if figures.natural_rate else 0.0
    what, change = figures.clean_name, figures.clean_accuracy
    sentence = (
        f"The trigger led {before:.1%} of the samples to "
        f"{class_list(figures.targets, label)}, and leads {after:.1%} there with the repair"
    )
    good = after <= natural + NEAR_NATURAL
    if figures.recovered_accuracy is not None:
        recovered = figures.recovered_accuracy[1]
        sentence += f"; {recovered:.1%} of them get their true class"
        if figures.ceiling is not None:
            sentence += f", of {figures.ceiling:.1%} without the trigger"
            good = good and recovered >= NEAR_CEILING * figures.ceiling
    sentence += f". The {what} is {change[1]:.1%}, before {change[0]:.1%}."
    good = good and change[1] >= change[0] - LITTLE_LOST
    return sentence, "good" if good else "bad"


def _flagged(figures: Figures) -> list[Table]:
    if figures.flagged is None:
        return []
    rows = [
        (kind, f"{share:.2%}", str(count))
        for kind, share, count in zip(
            ("clean", "triggered, of other classes than the target"),
            figures.flagged,
            figures.counts,
            strict=True,
        )
    ]
    note = "A flagged sample runs once more. A clean one that is flagged may get another answer."
    return [Table("Flagged", ("samples", "flagged", "of"), rows, note)]


def _samples(evaluation: Evaluation, label: Label) -> SampleTable:
    observation, rows, files = evaluation.observation, [], []
    groups = tuple(observation.evidence.both)
    drawn = all(map(can_be_displayed, groups)) and sum(map(len, groups)) <= MOST_THUMBNAILS
    flagged = evaluation.flagged or (None, None)
    for kind, samples, before, after, truth, which in zip(
        ("clean", "triggered"),
        groups,
        observation.predictions,
        evaluation.predictions,
        observation.labels,
        flagged,
        strict=True,
    ):
        for i, name in enumerate(samples.names):
            rows.append(
                (
                    name,
                    kind,
                    "?" if truth is None else label(int(truth[i])),
                    label(int(before[i])),
                    label(int(after[i])),
                    "" if which is None else "flagged" if which[i] else "no",
                )
            )
        if drawn:
            files += thumbnails(samples, range(len(samples)))
    head = ("sample", "kind", "true class", "before", "after", "flagged")
    return SampleTable(head, rows, files)


def _examples(evaluation: Evaluation, label: Label) -> list[Picture]:
    """Return pictures of samples that the trigger leads to a target, beside clean partners."""
    observation, evidence = evaluation.observation, evaluation.observation.evidence
    if not all(map(can_be_displayed, evidence.both)):
        return []
    before, after = observation.predictions.triggered, evaluation.predictions.triggered
    led = torch.isin(before, torch.tensor(evaluation.figures.targets)).nonzero().flatten().tolist()
    pictures = []
    for i in led[:EXAMPLES]:
        shown = [(evidence.triggered, i)]
        if evidence.paired:
            shown.insert(0, (evidence.clean, evidence.partners[i]))
        caption = f"called {label(int(before[i]))}, repaired {label(int(after[i]))}"
        pictures.append(Picture(side_by_side(shown), caption))
    return pictures
