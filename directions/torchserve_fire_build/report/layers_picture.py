"""The report's picture: a row for each layer, in the order in which they run; figures as cells.

From left to right: the AUC of each detector, and the accuracies after a repair of each strength.
Boxes mark what the bundle does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..choose.build_record import BuildRecord
from ..choose.choice import Choice
from ..common.figure import FAINT, INK, MARK, NOTHING, new_figure, to_png
from ..measure.figures import Figures
from ..samples.class_label import Label
from .sweep import LayerSweep, sweep

CELL_WIDTH, CELL_HEIGHT, GAP, GROUP_GAP = 0.42, 0.31, 0.22, 0.55
TOP, BOTTOM, MARGIN = 1.6, 1.3, 0.2
LETTER_WIDTH = 0.082
MAX_NAME = 44


@dataclass(frozen=True)
class Panel:
    """One block of cells.

    Attributes:
        title: what the figures are.
        columns: names of the columns.
        below: what the columns are.
        values: the figures by row and column; None for a cell without a figure.
        lowest: the value with the palest colour; 1 has the darkest.
        form: writes a value as text.
        marked: row and column of the cell that shows what the bundle does; None without one.
    """

    title: str
    columns: Sequence[str]
    below: str
    values: Sequence[Sequence[float | None]]
    lowest: float
    form: Callable[[float], str]
    marked: tuple[int, int] | None

    @property
    def width(self) -> float:
        """Width of the cells, in inches."""
        return CELL_WIDTH * len(self.columns)


def draw_record(record: BuildRecord, model: str, label: Label = str) -> bytes:
    """Measure what each candidate layer does, and draw it.

    Args:
        record: the record of a build's choice.
        model: name of the model's class.
        label: says what a class is called.

    Returns:
        A PNG.
    """
    guessed, target = record.held_out.guessed, label(record.target)
    return draw(sweep(record), record.choice, model, target, guessed=guessed)


def draw(
    sweeps: Sequence[LayerSweep], choice: Choice, model: str, target: str, *, guessed: bool = False
) -> bytes:
    """Draw what each candidate layer does.

    Args:
        sweeps: what each layer does.
        choice: the build's choice.
        model: name of the model's class.
        target: what the class is called that the trigger leads to.
        guessed: whether the triggers are reconstructed.

    Returns:
        A PNG.
    """
    groups = [("Detection", [_detection(sweeps, choice)])]
    if choice.detector is not None:
        groups.append(("Repairing the flagged inputs", _repairing(sweeps, choice, flagged=True)))
    groups.append(("Repairing every input", _repairing(sweeps, choice, flagged=False)))

    names = [_shortened(swept.layer) for swept in sweeps]
    left = max(1.0, LETTER_WIDTH * max(map(len, names)))
    panels = [panel for _, group in groups for panel in group]
    gaps = GROUP_GAP * (len(groups) - 1) + GAP * (len(panels) - len(groups))
    width = left + sum(panel.width for panel in panels) + gaps
    rows = CELL_HEIGHT * len(sweeps)
    height = TOP + rows + BOTTOM
    figure = new_figure(width, height)

    def write(x: float, down: float, text: str, size: float, **style: Any) -> None:
        figure.text(x / width, 1 - down / height, text, fontsize=size, va="top", **style)

    title, subtitle = _heading(sweeps, choice, model, target, guessed)
    write(0, 0, title, 13, color=INK, weight="bold")
    write(0, 0.3, subtitle, 9.5, color=FAINT)
    x = left
    for heading, group in groups:
        write(x, TOP - 0.5, heading, 11, color=INK, weight="bold")
        for panel in group:
            box = (x / width, BOTTOM / height, panel.width / width, rows / height)
            _draw_panel(figure.add_axes(box), panel, names if x == left else [])
            x += panel.width + GAP
        x += GROUP_GAP - GAP
    return to_png(figure, margin=MARGIN)


def _heading(
    sweeps: Sequence[LayerSweep], choice: Choice, model: str, target: str, guessed: bool
) -> tuple[str, str]:
    repair = choice.repair
    does = (
        f"repairs at {_shortened(repair.layer)} ({repair.estimator}, strength {repair.strength:g})"
    )
    if choice.detector is not None:
        name, layer = choice.detector
        does = f"detects at {_shortened(layer)} ({name}) and {does}"
    clean, triggered = next(p.every_input.counts for swept in sweeps for p in swept.points)
    which_triggers = "; the triggers are reconstructed, not the attacker's" if guessed else ""
    return f"{_shortened(model)}, target: class {target}", (
        f"The bundle {does} (boxes).\n"
        f"Measured on the {clean} clean and {triggered} triggered held-out calibration samples "
        f"that the choice was made on{which_triggers}.\n"
        "Strength 0: the model without repair. A dash: cannot be estimated at this layer."
    )


def _detection(sweeps: Sequence[LayerSweep], choice: Choice) -> Panel:
    detectors = list(sweeps[0].auc)
    marked = None
    if choice.detector is not None:
        name, layer = choice.detector
        marked = (_row(sweeps, layer), detectors.index(name))
    return Panel(
        title="AUC",
        columns=[name.replace("_", " ") for name in detectors],
        below="",
        values=[[swept.auc[name] for name in detectors] for swept in sweeps],
        lowest=0.5,
        form=lambda value: f"{value:.2f}",
        marked=marked,
    )


def _repairing(sweeps: Sequence[LayerSweep], choice: Choice, *, flagged: bool) -> list[Panel]:
    """Return the panels of triggered and of clean samples."""
    strengths = sorted({point.strength for swept in sweeps for point in swept.points})
    repair = choice.repair
    marked = None
    # The bundle moves either the flagged inputs or every input.
    if flagged == (choice.detector is not None):
        marked = (_row(sweeps, repair.layer), strengths.index(repair.strength))

    def panel(title: str, value_of: Callable[[Figures], float]) -> Panel:
        values: list[list[float | None]] = []
        for swept in sweeps:
            figures = {
                p.strength: p.flagged_inputs if flagged else p.every_input for p in swept.points
            }
            row = [figures.get(strength) for strength in strengths]
            values.append([None if cell is None else value_of(cell) for cell in row])
        return Panel(
            title=title,
            columns=[f"{strength:g}" for strength in strengths],
            below="strength",
            values=values,
            lowest=0.0,
            form=lambda value: f"{100 * value:.0f}",
            marked=marked,
        )

    known = all(p.every_input.recovered_accuracy is not None for s in sweeps for p in s.points)
    clean = next((p.every_input.clean_name for s in sweeps for p in s.points), "clean accuracy")
    return [
        panel("recovered accuracy, %" if known else "not the target, %", _recovered),
        panel(f"{clean}, %", lambda figures: figures.clean_accuracy[1]),
    ]


def _recovered(figures: Figures) -> float:
    """Return the recovered accuracy or, if it is unknown, the share not predicted as the target."""
    if figures.recovered_accuracy is None:
        return 1 - figures.attack_success_rate[1]
    return figures.recovered_accuracy[1]


def _row(sweeps: Sequence[LayerSweep], layer: str) -> int:
    return [swept.layer for swept in sweeps].index(layer)


def _shortened(name: str) -> str:
    return name if len(name) <= MAX_NAME else "…" + name[-MAX_NAME + 1 :]


def _draw_panel(axes: Any, panel: Panel, names: Sequence[str]) -> None:
    from matplotlib import colormaps
    from matplotlib.patches import Rectangle

    palette = colormaps["Blues"]
    for row, values in enumerate(panel.values):
        for column, value in enumerate(values):
            share = 0.0 if value is None else max(0.0, (value - panel.lowest) / (1 - panel.lowest))
            colour = NOTHING if value is None else palette(0.9 * share)
            axes.add_patch(Rectangle((column, row), 1, 1, facecolor=colour, edgecolor="white"))
            axes.text(
                column + 0.5,
                row + 0.53,
                "-" if value is None else panel.form(value),
                fontsize=8.5,
                ha="center",
                va="center",
                color="white" if share > 0.6 else INK,
            )
    if panel.marked is not None:
        row, column = panel.marked
        box = Rectangle((column, row), 1, 1, fill=False, edgecolor=MARK, linewidth=2.5, zorder=3)
        box.set_clip_on(False)
        axes.add_patch(box)
    axes.set_xlim(0, len(panel.columns))
    axes.set_ylim(len(panel.values), 0)
    axes.set_title(panel.title, fontsize=9.5, color=FAINT, loc="left", pad=5)
    axes.set_xlabel(panel.below, fontsize=9, color=FAINT)
    axes.tick_params(length=0, labelsize=9, labelcolor=INK)
    axes.set_xticks([i + 0.5 for i in range(len(panel.columns))], panel.columns)
    if max(map(len, panel.columns)) > 5:
        for label in axes.get_xticklabels():
            label.set(rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks([i + 0.5 for i in range(len(names))], names)
    axes.spines[:].set_visible(False)
