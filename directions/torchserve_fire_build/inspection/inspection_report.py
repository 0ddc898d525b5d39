"""The report on whether a model looks backdoored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..report.html_report import Bars, Picture, Report, Table
from ..samples.class_label import Label
from .anomaly_picture import draw_grid
from .findings import COLUMNS, Findings, Run
from .inspection import MAX_CLASSES

TONES = {True: "bad", False: "good", None: "unsure"}
FIELDS = ("class", "fields", "led there by the first, by two, ...", "in networks without trigger")
NEUTRAL = "Each value is an ordinary one, and no more frequent in rows of the class than in others."
TOKENS = ("class", "tokens", "put", "led there")
LONG_TEXTS = "What leads long texts of other classes to each class best, and how many of them."
NO_PROOF = "That nothing was found is no proof that there is nothing."


def inspection_report(findings: Findings, title: str, provenance: Mapping[str, str]) -> Report:
    """Return the report.

    Args:
        findings: of the methods.
        title: what was inspected.
        provenance: what it takes to do it again.
    """
    label, words = findings.label, findings.in_words()
    notes = [
        (run.inspection.method, note) for run in findings.runs for note in run.inspection.notes
    ]
    proof = NO_PROOF if findings.found is False else ""
    tables = [Table("Methods", COLUMNS, findings.cells(), proof)]
    triggers = [
        (label(trigger["class"]), *_fields(trigger))
        for run in findings.runs
        for trigger in run.inspection.triggers
        if "tokens" not in trigger
    ]
    if triggers:
        tables.append(Table("Fields that lead rows to a class", FIELDS, triggers, NEUTRAL))
    tokens = [
        (label(trigger["class"]), *_tokens(trigger))
        for run in findings.runs
        for trigger in run.inspection.triggers
        if "tokens" in trigger
    ]
    if tokens:
        tables.append(Table("Tokens that lead texts to a class", TOKENS, tokens, LONG_TEXTS))
    if notes:
        tables.append(Table("What each method says", ("method", "says"), notes))
    return Report(
        title,
        f"{words[0].upper()}{words[1:]}.",
        TONES[findings.found],
        tables,
        {"findings": findings.to_json()},
        provenance,
        bars=[bars for run in findings.runs for bars in _bars(run, label)],
        pictures=[
            Picture(draw_grid(run, run.inspection.pictures, label), _caption(run))
            for run in findings.runs
            if run.inspection.pictures is not None
        ],
    )


def _fields(trigger: Mapping[str, Any]) -> tuple[str, str, str]:
    values = (
        f"{column} = {value if isinstance(value, str) else format(value, '.10g')}"
        for column, value in trigger["fields"].items()
    )
    return (
        ", ".join(values),
        ", ".join(f"{share:.0%}" for share in trigger["led"]),
        f"{trigger['led_in_twins']:.0%}",
    )


def _tokens(trigger: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return the cells of tokens that were found, without the class."""
    tokens = trigger["words"] or map(str, trigger["tokens"])
    return " ".join(tokens), trigger["place"], f"{trigger['success']:.1%}"


def _bars(run: Run, label: Label) -> list[Bars]:
    inspection = run.inspection
    if inspection.probabilities is not None:
        values, what = inspection.probabilities, "probability that a class is a backdoor's target"
        note = "The dashed line: from there on, a class is named."
    elif inspection.index is not None:
        values, what = inspection.index.clamp(min=0), "anomaly index of each class"
        note = (
            "How many median absolute deviations a class lies from the median, on the suspicious "
            "side. The dashed line: above it, a class is named."
        )
    else:
        return []
    shown = sorted(values.argsort(descending=True, stable=True)[:MAX_CLASSES].tolist())
    title = f"{inspection.method}: {what}"
    if len(shown) < len(values):
        title += f", the {len(shown)} largest of {len(values)}"
    return [
        Bars(
            title,
            [label(c) for c in shown],
            [float(values[c]) for c in shown],
            inspection.threshold,
            note,
        )
    ]


def _caption(run: Run) -> str:
    if run.inspection.pictures is not None and run.inspection.pictures.dim() == 3:
        return f"{run.inspection.method}: what the classes' answers depend on"
    return (
        f"{run.inspection.method}: for each class a sample, the same with the trigger that was "
        "found, and the difference, magnified"
    )
