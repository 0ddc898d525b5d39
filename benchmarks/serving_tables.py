"""What serving with the repair costs, as tables: load, workers, preprocessing, growth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

import numpy as np
from scipy.stats import wilcoxon

from .markdown_table import markdown_table

Row = Mapping[str, Any]

COMPARISONS = ("again / plain", "repaired / plain", "repaired / stock")
FIGURES = ("p50", "p99", "throughput")
FEWEST_TO_TEST = 6
"""Settings: of fewer, not even all in one direction are seldom by chance."""


def load_table(rows: Sequence[Row]) -> str:
    """Return the ratios of latencies and throughput, a line for each setting."""
    headings = [
        "model",
        "protocol",
        "batch size",
        "sent by",
        "triggered",
        "requests",
        "plain p50, ms",
        *COMPARISONS,
    ]
    lines = []
    for row in rows:
        if "ratios" not in row:
            continue
        clients = row["clients"]
        cells = [
            row["victim"],
            row["protocol"],
            str(row["batch_size"]),
            "open loop" if clients is None else f"{clients} client{'s' if clients > 1 else ''}",
            f"{row['triggered']:.0%}",
            str(row["requests"]),
            f"{row['plain_milliseconds']:.1f}",
            *(_ratios(row["ratios"].get(name)) for name in COMPARISONS),
        ]
        lines.append(cells)
    return markdown_table(headings, lines)


def load_summary(rows: Sequence[Row]) -> str:
    """Return the median ratios over all settings of one traffic, and how far these lie apart.

    The last column: how often chance alone makes "repaired / plain" differ by as much from "again /
    plain" of the same settings (Wilcoxon's signed-rank test of the logarithms).
    """
    groups: dict[tuple[str, float], list[Row]] = {}
    for row in rows:
        if "ratios" in row:
            groups.setdefault((row["victim"], row["triggered"]), []).append(row["ratios"])
    lines = []
    for (model, triggered), measured in groups.items():
        for figure in FIGURES:
            cells = [
                _middle([ratios[name][figure] for ratios in measured if name in ratios])
                for name in COMPARISONS
            ]
            chance = _by_chance(
                [ratios["repaired / plain"][figure] for ratios in measured],
                [ratios["again / plain"][figure] for ratios in measured],
            )
            lines.append([model, f"{triggered:.0%}", str(len(measured)), figure, *cells, chance])
    return markdown_table(
        ["model", "triggered", "settings", "figure", *COMPARISONS, "by chance"], lines
    )


def _by_chance(ours: Sequence[float], noise: Sequence[float]) -> str:
    if len(ours) < FEWEST_TO_TEST:
        return ""
    return f"{wilcoxon(np.log(ours), np.log(noise)).pvalue:.2f}"


def _middle(values: Sequence[float]) -> str:
    if not values:
        return ""
    return f"{median(values):.3f} ({min(values):.2f} to {max(values):.2f})"


def worker_table(rows: Sequence[Row]) -> str:
    """Return the ratios of what a worker takes, a line for each model and figure."""
    headings = [
        "model",
        "the bundle's layers",
        "passes where flagged",
        "figure",
        "plain",
        *COMPARISONS,
    ]
    lines = []
    for row in rows:
        if "memory" not in row:
            continue
        for name, figure, plain in (
            ("start", "time to start", f"{row['plain_start_seconds']:.1f} s"),
            ("memory", "memory", f"{row['plain_megabytes']:.0f} MB"),
        ):
            compared = [row[name].get(pair) for pair in COMPARISONS]
            ratios = ["" if ratio is None else f"{ratio:.3f}" for ratio in compared]
            bundle = [", ".join(row["layers"]), str(row["passes"])]
            lines.append([row["victim"], *bundle, figure, plain, *ratios])
    return markdown_table(headings, lines)


def preprocessing_table(rows: Sequence[Row]) -> str:
    """Return the ratios of our preprocessing to the stock one, a line for each size of images."""
    lines = [[row["victim"], f"{row['batch 1']:.2f}", f"{row['batch 8']:.2f}"] for row in rows]
    return markdown_table(["JPEG", "one image", "batch of 8"], lines)


def growth_table(rows: Sequence[Row]) -> str:
    """Return how workers' memory grew, a line for each archive."""
    lines = [
        [
            row["victim"],
            row["archive"],
            f"{row['requests']:,} requests",
            f"{row['first']:,}",
            f"{row['growth']:.3f}",
        ]
        for row in rows
    ]
    return markdown_table(["model", "archive", "after", "over that after", "memory"], lines)


def swapping_table(rows: Sequence[Row]) -> str:
    """Return what became of the requests while bundles were swapped, and what grew."""
    headings = [
        "swaps",
        "requests",
        "failed",
        "wrong",
        "first / second bundle",
        "worker memory, last / second swap",
        "server memory",
        "processes",
        "unpacked archives",
    ]
    lines = []
    for row in rows:
        early, late = row["after the second swap"], row["after the last swap"]
        cells = [
            str(row["swaps"]),
            f"{row['requests']:,}",
            str(row["failed"]),
            str(row["wrong"]),
            f"{row['first bundle']:,} / {row['second bundle']:,}",
            f"{late['worker'] / early['worker']:.3f}",
            f"{late['server'] / early['server']:.3f}",
            f"{early['processes']} → {late['processes']}",
            f"{early['unpacked']} → {late['unpacked']}",
        ]
        lines.append(cells)
    return markdown_table(headings, lines)


def swapping_in_place_table(rows: Sequence[Row]) -> str:
    """Return what became of the requests while bundles were swapped in place."""
    headings = [
        "swaps",
        "workers",
        "requests",
        "failed",
        "wrong",
        "first / second bundle",
        "refused bundles",
        "worker memory, after / before",
        "a swap / a request, median",
    ]
    lines = [
        [
            str(row["swaps"]),
            f"{row['workers']}, {'the same all along' if row['same workers'] else 'not the same'}",
            f"{row['requests']:,}",
            str(row["failed"]),
            str(row["wrong"]),
            f"{row['first bundle']:,} / {row['second bundle']:,}",
            f"{row['refused']} of {row['to be refused']}",
            f"{row['worker memory, after over before']:.3f}",
            f"{row['seconds a swap, median'] / row['seconds a request, median']:.1f}",
        ]
        for row in rows
    ]
    return markdown_table(headings, lines)


def swapping_large_table(rows: Sequence[Row]) -> str:
    """Return how long requests waited while a large model took another bundle."""
    headings = [
        "parameters",
        "swaps",
        "a request, s",
        "longest request during a swap / a request",
        "until the new bundle answers, s",
        "answered by the old one meanwhile",
    ]
    lines = []
    for row in rows:
        alone = row["seconds a request, median"]
        longest, until = (
            [row[f"{name}, {which}"] for which in ("median", "longest")]
            for name in (
                "seconds of the longest request during a swap",
                "seconds until the new bundle answers",
            )
        )
        lines.append(
            [
                f"{row['parameters'] / 1e6:.0f} million",
                str(row["swaps"]),
                f"{alone:.2f}",
                f"{longest[0] / alone:.2f}, at most {longest[1] / alone:.2f}",
                f"{until[0]:.1f}, at most {until[1]:.1f}",
                f"{row['answered by the old bundle meanwhile, median']:g}",
            ]
        )
    return markdown_table(headings, lines)


def engines_table(rows: Sequence[Row]) -> str:
    """Return what clean traffic takes on each engine, and what became of traffic with bad input."""
    lines = [
        [
            row["victim"],
            f"{row['clients']} client{'s' if row['clients'] > 1 else ''}",
            str(row["requests"]),
            f"{row['plain_milliseconds']:.1f}",
            *(_ratios(row["ratios"][name]) for name in COMPARISONS[:2]),
        ]
        for row in rows
        if "ratios" in row
    ]
    return markdown_table(
        ["engine", "sent by", "requests", "plain p50, ms", *COMPARISONS[:2]], lines
    )


def engines_mixed_table(rows: Sequence[Row]) -> str:
    """Return what became of requests on each engine with bad input among them."""
    lines = [
        [
            row["victim"],
            f"{row['requests']:,}",
            f"{row['bad']:,}",
            str(row["lost"]),
            str(row["wrong"]),
            f"{row['memory']:.3f}",
        ]
        for row in rows
        if "lost" in row
    ]
    headings = ["engine", "requests", "bad", "lost", "wrong", "memory, last / first 2,000"]
    return markdown_table(headings, lines)


def _ratios(figures: Mapping[str, float] | None) -> str:
    return "" if figures is None else " / ".join(f"{figures[name]:.3f}" for name in FIGURES)
