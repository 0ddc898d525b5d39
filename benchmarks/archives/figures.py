"""The figures of a case: what became of the requests, and of the test samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .case import Case
from .production import Went


def row_of(case: Case, went: Went) -> dict[str, Any]:
    """Return a case's row of the results; shares in [0, 1]."""
    failed = [each for each in went.answered if each.status != 200]
    answered = [each for each in went.answered if each.status == 200]
    return {
        "victim": case.name,
        "commands": [command.line.split()[1] for command in went.commands],
        "seconds": [round(command.seconds, 1) for command in went.commands],
        "requests": len(went.answered),
        "failed": len(failed),
        "wrong": sum(not went.is_right(each) for each in answered),
        "answered plain": sum(not each.repaired for each in answered),
        "answered repaired": sum(each.repaired for each in answered),
        "same form": {form(each, case.classes) for part in went.before for each in part}
        == {form(each, case.classes) for part in went.after for each in part},
        "test": len(case.test),
        "before": accuracies(case, *went.before),
        "after": accuracies(case, *went.after),
    }


def accuracies(
    case: Case, clean_answers: Sequence[Any], triggered_answers: Sequence[Any]
) -> dict[str, float]:
    """Return what the answers to the test samples come to.

    Returns:
        `clean_accuracy`, `attack_success_rate` and `recovered_accuracy`; `clean_partners`, the
        accuracy on the clean samples that the triggered ones were made from, and `natural_rate`,
        the share of those that are called what the trigger leads to.
    """
    labels = [sample.label for sample in case.test]
    truth = [label for label in labels if label != case.target]
    clean = [case.class_of(answer) for answer in clean_answers]
    triggered = [case.class_of(answer) for answer in triggered_answers]
    partners = [called for called, label in zip(clean, labels, strict=True) if label != case.target]
    return {
        "clean_accuracy": _share(clean, labels),
        "attack_success_rate": _share(triggered, [case.target] * len(truth)),
        "recovered_accuracy": _share(triggered, truth),
        "clean_partners": _share(partners, truth),
        "natural_rate": _share(partners, [case.target] * len(truth)),
    }


def form(answer: Any, classes: Sequence[str]) -> str:
    """Return an answer's form: its fields and the kinds of its values, any class for each class."""
    if isinstance(answer, dict):
        names = ["CLASS" if name in classes else name for name in answer]
        values = [form(value, classes) for value in answer.values()]
        return "{" + ", ".join(f"{n}: {v}" for n, v in zip(names, values, strict=True)) + "}"
    if isinstance(answer, list):
        return "[" + ", ".join(form(value, classes) for value in answer) + "]"
    return "CLASS" if answer in classes else type(answer).__name__


def _share(called: Sequence[int], wanted: Sequence[int]) -> float:
    return sum(a == b for a, b in zip(called, wanted, strict=True)) / len(wanted)
