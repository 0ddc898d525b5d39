"""A picture of all defences: how much of the right answers each gives back, and what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean

from torchserve_fire_build.common.figure import FAINT, INK, new_figure, to_png

from .small_picture import with_palette
from .victim_tables import OURS, Results, scores_by_defence

SIZE = (7.2, 5.6)
OURS_COLOUR, OTHERS_COLOUR = "#15803d", "#2563eb"


def draw_defences(results: Sequence[Results], evidence: str) -> bytes:
    """Return a PNG with a line for each defence: its mean over the victims, and the worst."""
    found = scores_by_defence(results, evidence)
    ratios = {name: [min(s.ratio, 1.0) for s in scores] for name, scores in found.items()}
    costs = {name: [-s.clean_change for s in scores] for name, scores in found.items()}
    names = sorted(found, key=lambda name: mean(ratios[name]))
    figure = new_figure(*SIZE)
    back, lost = figure.subplots(1, 2, sharey=True)
    for axes, values, worst in ((back, ratios, min), (lost, costs, max)):
        for row, name in enumerate(names):
            colour = OURS_COLOUR if name == OURS else OTHERS_COLOUR
            middle, end = mean(values[name]), worst(values[name])
            axes.plot([middle, end], [row, row], color=FAINT, linewidth=1.5, zorder=1)
            axes.plot([middle], [row], "o", color=colour, zorder=3)
            axes.plot([end], [row], "|", color=INK, zorder=2)
    back.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
    back.set_xlabel("recovered accuracy / ceiling")
    back.set_xlim(-0.04, 1.04)
    lost.set_xlabel("clean accuracy lost, points")
    back.plot([], [], "o", color=INK, label="mean of the victims")
    back.plot([], [], "|", color=INK, label="the worst victim")
    back.legend(loc="lower right", fontsize=8)
    return with_palette(to_png(figure, margin=0.1))
