"""The picture of parts in layers, with an arrow from each part to those that it imports."""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from matplotlib import colormaps
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle
from matplotlib.path import Path as Curve

from torchserve_fire_build.common.figure import FAINT, INK, MARK, new_figure, to_png

from .read_imports import Arrow, Imports
from .small_picture import with_palette

PALE = "#f3f4f6"
ARROW = "#94a3b8"
DPI = 110
LEFT, TOP = 0.5, 1.2
BOX_HEIGHT, LINE_GAP, LAYER_GAP = 0.36, 0.26, 0.52
LETTER, PADDING, LEAST_GAP, USUAL_GAP = 0.088, 0.24, 0.22, 1.0
LEAST_WIDTH, MOST_WIDTH = 8.6, 12.6
"""The heading needs so much, and a page holds so much."""

FREE, TRACK = 0.08, 0.026
"""How far arrows that pass between two boxes stay off these, and off each other where they can."""

SWEEPS, TRIES = 12, 12
"""Rounds of exchanges at most, in each try."""

Neighbours = Mapping[str, Sequence[str]]
"""Each part's other ends of its arrows."""


@dataclass
class Box:
    """A part's box; all measures are in inches.

    Attributes:
        part: its name.
        x: of its middle.
        line: its line; several make a layer where one is too short.
    """

    part: str
    x: float = 0.0
    line: int = 0

    @property
    def label(self) -> str:
        """What is written in it."""
        return self.part.split(".")[-1]

    @property
    def width(self) -> float:
        """How wide it is."""
        return LETTER * len(self.label) + PADDING

    @property
    def left(self) -> float:
        """Its left edge."""
        return self.x - self.width / 2

    @property
    def right(self) -> float:
        """Its right edge."""
        return self.x + self.width / 2


@dataclass
class Layout:
    """Where everything is.

    Attributes:
        width: of the picture.
        lines: the boxes of each line, from left to right; the highest layer's lines come first.
        layers: the layer of each line.
    """

    width: float
    lines: list[list[Box]] = field(default_factory=list)
    layers: list[int] = field(default_factory=list)

    @property
    def boxes(self) -> dict[str, Box]:
        """All boxes, by part."""
        return {box.part: box for line in self.lines for box in line}

    def length(self, neighbours: Neighbours, lines: Sequence[Sequence[Box]]) -> float:
        """Return how far to the side the arrows of some lines go, all together."""
        x = {box.part: box.x for line in self.lines for box in line}
        boxes = [box for line in lines for box in line]
        return sum(abs(box.x - x[other]) for box in boxes for other in neighbours[box.part])

    def down(self, line: int) -> float:
        """Return how far the upper edge of a line lies below the picture's."""
        above = itertools.pairwise(self.layers[: line + 1])
        gaps = sum(LINE_GAP if a == b else LAYER_GAP for a, b in above)
        return TOP + LAYER_GAP / 2 + line * BOX_HEIGHT + gaps

    @property
    def height(self) -> float:
        """The picture's height."""
        return self.down(len(self.lines) - 1) + BOX_HEIGHT + LAYER_GAP / 2


def draw(imports: Imports) -> bytes:
    """Return the picture, a PNG; the parts of a package have one colour, upward arrows another."""
    layout = _arrange(imports)
    height = layout.height
    figure = new_figure(layout.width, height)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, layout.width)
    axes.set_ylim(height, 0)
    axes.axis("off")
    packages = list(dict.fromkeys(part.split(".")[0] for part in imports.parts))
    _write_heading(axes, imports, packages)
    _draw_layers(axes, layout)
    for arrow, curve in _curves(imports, layout).items():
        _draw_arrow(axes, curve, upward=arrow in imports.upward)
    for box in layout.boxes.values():
        _draw_box(axes, box, layout.down(box.line), packages.index(box.part.split(".")[0]))
    return with_palette(to_png(figure, dpi=DPI))


def _arrange(imports: Imports) -> Layout:
    """Put the parts of each layer in lines, such that arrows are short: the best of some tries."""
    neighbours: dict[str, list[str]] = {part: [] for part in imports.parts}
    for a, b in imports.arrows:
        neighbours[a].append(b)
        neighbours[b].append(a)
    generator = random.Random(0)  # noqa: S311 - no secret
    tries = [_try(imports, neighbours, generator) for _ in range(TRIES)]
    return min(tries, key=lambda layout: layout.length(neighbours, layout.lines))


def _try(imports: Imports, neighbours: Neighbours, generator: random.Random) -> Layout:
    """Put the parts in lines at random, and exchange them until that makes no arrows shorter."""
    by_layer = [
        [part for part, its in imports.layers.items() if its == layer]
        for layer in range(imports.height)
    ]
    widest = LEFT + max(sum(Box(part).width + USUAL_GAP for part in parts) for parts in by_layer)
    layout = Layout(min(max(LEAST_WIDTH, widest), MOST_WIDTH))
    for layer, parts in reversed(list(enumerate(by_layer))):
        for line in _broken(parts, layout.width):
            generator.shuffle(line)
            layout.lines.append([Box(part, line=len(layout.lines)) for part in line])
            layout.layers.append(layer)
    for line in layout.lines:
        _spread(line, layout.width)
    for _ in range(SWEEPS):
        exchanged = [_exchange(layout, layer, neighbours) for layer in range(imports.height)]
        if not any(exchanged):
            break
    return layout


def _broken(parts: Sequence[str], width: float) -> list[list[str]]:
    """Return a layer's parts in as few lines as hold them, with about as many in each."""

    def needs(line: Sequence[str]) -> float:
        return sum(Box(part).width + LEAST_GAP for part in line)

    lines: list[list[str]] = [[] for _ in range(math.ceil(needs(parts) / (width - LEFT)))]
    for part in sorted(parts, key=lambda part: -Box(part).width):
        min(lines, key=needs).append(part)
    return lines


def _spread(line: Sequence[Box], width: float) -> None:
    """Give the boxes of a line their places: in the middle, with equal gaps."""
    space = width - LEFT
    boxes = sum(box.width for box in line)
    gap = min(1.2 * USUAL_GAP, (space - boxes) / (len(line) + 1))
    x = LEFT + (space - boxes - gap * (len(line) - 1)) / 2
    for box in line:
        box.x = x + box.width / 2
        x += box.width + gap


def _exchange(layout: Layout, layer: int, neighbours: Neighbours) -> bool:
    """Exchange boxes of a layer where that makes its arrows shorter; return whether it did."""
    lines = [line for line, its in zip(layout.lines, layout.layers, strict=True) if its == layer]
    places = [(line, i) for line in lines for i in range(len(line))]

    def swap(one: tuple[list[Box], int], other: tuple[list[Box], int]) -> None:
        (first, i), (second, j) = one, other
        first[i].line, second[j].line = second[j].line, first[i].line
        first[i], second[j] = second[j], first[i]
        _spread(first, layout.width)
        _spread(second, layout.width)

    shorter, best = False, layout.length(neighbours, lines)
    for one, other in itertools.combinations(places, 2):
        swap(one, other)
        fits = all(line[0].left > LEFT and line[-1].right < layout.width for line in lines)
        length = layout.length(neighbours, lines)
        if fits and length < best - 1e-6:
            shorter, best = True, length
        else:
            swap(one, other)
    return shorter


def _curves(imports: Imports, layout: Layout) -> dict[Arrow, Curve]:
    """Return the curve of each arrow: from below its box, between those on its way, to the other.

    The arrows of a box leave and reach it side by side, in the order of where they come from.
    """
    boxes = layout.boxes
    outward: dict[str, list[str]] = {part: [] for part in boxes}
    inward: dict[str, list[str]] = {part: [] for part in boxes}
    for a, b in imports.arrows:
        outward[a].append(b)
        inward[b].append(a)
    for others in (*outward.values(), *inward.values()):
        others.sort(key=lambda part: boxes[part].x)
    taken: Counter[tuple[int, float]] = Counter()
    curves = {}
    for a, b in sorted(imports.arrows, key=lambda arrow: boxes[arrow[1]].line):
        start = _side_by_side(boxes[a], outward[a].index(b), len(outward[a]))
        end = _side_by_side(boxes[b], inward[b].index(a), len(inward[b]))
        curves[a, b] = _curve(layout, (boxes[a].line, start), (boxes[b].line, end), taken)
    return curves


def _side_by_side(box: Box, index: int, count: int) -> float:
    return box.left + box.width * (0.12 + 0.76 * (index + 0.5) / count)


def _curve(
    layout: Layout,
    start: tuple[int, float],
    end: tuple[int, float],
    taken: Counter[tuple[int, float]],
) -> Curve:
    """Return the curve from a place of one line to a place of another.

    Args:
        layout: where the boxes are.
        start: the line, and the place.
        end: likewise.
        taken: how many arrows pass each line at the edge of each gap; is brought up to date.
    """
    (first, x), (last, end_x) = start, end
    step = 1 if last > first else -1
    near, far = (0.0, BOX_HEIGHT) if step > 0 else (BOX_HEIGHT, 0.0)
    y = layout.down(first) + far
    points, codes = [(x, y)], [Curve.MOVETO]

    def bend_to(to: float, down: float) -> None:
        half = (y + down) / 2
        points.extend([(x, half), (to, half), (to, down)])
        codes.extend([Curve.CURVE4] * 3)

    for line in range(first + step, last, step):
        wanted = x + (end_x - x) / (abs(last - line) + 1)
        to = _free_place(layout, line, wanted, taken)
        bend_to(to, layout.down(line) + near)
        x, y = to, layout.down(line) + far
        points.append((x, y))
        codes.append(Curve.LINETO)
    bend_to(end_x, layout.down(last) + near)
    return Curve(points, codes)


def _free_place(layout: Layout, line: int, x: float, taken: Counter[tuple[int, float]]) -> float:
    """Return the place nearest to `x` at which an arrow passes between the boxes of a line.

    Arrows that pass beside the same box lie side by side.
    """
    boxes = layout.lines[line]
    edges = [LEFT, *(edge for box in boxes for edge in (box.left, box.right)), layout.width]
    gaps = [(edges[i] + FREE, edges[i + 1] - FREE) for i in range(0, len(edges), 2)]
    low, high = min(gaps, key=lambda gap: max(gap[0] - x, x - gap[1]))
    if low < x < high:
        return x
    edge = low if x <= low else high
    inwards = min(TRACK * taken[line, edge], max(0.0, high - low))
    taken[line, edge] += 1
    return edge + (inwards if edge == low else -inwards)


def _write_heading(axes: Any, imports: Imports, packages: Sequence[str]) -> None:
    axes.text(0.2, 0.2, imports.describe(), fontsize=14, color=INK, weight="bold", va="top")
    what = "A box is a package or a module. It stands above all that it imports; arrows show what."
    axes.text(0.2, 0.52, what, fontsize=9.5, color=FAINT, va="top")
    x, middle = 0.2, 0.88
    for index, package in enumerate(packages):
        axes.add_patch(_rounded(x, middle - 0.08, 0.22, 0.16, index))
        axes.text(x + 0.3, middle, package, fontsize=9.5, color=INK, va="center")
        x += 0.65 + LETTER * len(package)
    if imports.upward:
        axes.plot([x, x + 0.22], [middle, middle], color=MARK, linewidth=1.6)
        axes.text(x + 0.3, middle, "upwards", fontsize=9.5, color=MARK, va="center")


def _draw_layers(axes: Any, layout: Layout) -> None:
    """Draw a band for each layer, every other one grey, with its number."""
    for layer in sorted(set(layout.layers)):
        lines = [line for line, its in enumerate(layout.layers) if its == layer]
        upper = layout.down(lines[0]) - LAYER_GAP / 2
        lower = layout.down(lines[-1]) + BOX_HEIGHT + LAYER_GAP / 2
        colour = PALE if layer % 2 == 0 else "white"
        band = Rectangle((0, upper), layout.width, lower - upper, facecolor=colour, zorder=0)
        axes.add_patch(band)
        middle = (upper + lower) / 2
        axes.text(0.28, middle, str(layer), fontsize=10, color=FAINT, ha="center", va="center")


def _draw_arrow(axes: Any, curve: Curve, *, upward: bool) -> None:
    axes.add_patch(
        FancyArrowPatch(
            path=curve,
            arrowstyle="-|>",
            mutation_scale=9 if upward else 5.5,
            linewidth=1.6 if upward else 0.7,
            color=MARK if upward else ARROW,
            zorder=2 if upward else 1,
        )
    )


def _draw_box(axes: Any, box: Box, down: float, package: int) -> None:
    axes.add_patch(_rounded(box.left, down, box.width, BOX_HEIGHT, package))
    axes.text(
        box.x,
        down + BOX_HEIGHT / 2,
        box.label,
        fontsize=9.5,
        color="white" if package == 0 else INK,
        ha="center",
        va="center_baseline",
        zorder=4,
    )


def _rounded(left: float, down: float, width: float, height: float, package: int) -> Any:
    palette = colormaps["Blues"]
    return FancyBboxPatch(
        (left, down),
        width,
        height,
        boxstyle="round,pad=0,rounding_size=0.07",
        facecolor=palette(0.75 if package == 0 else 0.2),
        edgecolor=palette(0.85 if package == 0 else 0.5),
        linewidth=0.8,
        zorder=3,
    )
