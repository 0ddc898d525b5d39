"""Tables of the repairs from less than triggered samples: clean images alone, and mixed pools."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .markdown_table import markdown_table
from .victim_tables import score

Row = Mapping[str, Any]

RECOVERED = 0.95
"""Recovered accuracy over its ceiling, at least: of a mixed pool, of patches, and once refined."""

RECOVERED_OF_OTHERS = 0.5
CLEAN_CHANGE = -0.3
"""Points of clean accuracy that may be lost."""

FLAGGED_CLEAN = 0.01
FLAGGED_OF_WORKING = {"wanet": 0.9, "bpp": 0.9, "input_aware": 0.9}
"""Share of the triggered images that work, by attack."""

FLAGGED_OF_WORKING_OTHERWISE = 0.98
FOUND = 0.95
"""Of a mixed pool's triggered images that work; and at most `FLAGGED_CLEAN` of its others."""

FIGURES = (
    "ASR before",
    "flagged: triggered / clean",
    "RA / ceiling",
    "BA change",
    "ASR above natural",
)
"""Headings of the cells that `_figures` returns."""


def clean_only_table(rows: Sequence[Row]) -> str:
    """Return what searching each model came to, and what a bundle from that did."""
    headings = [
        "victim",
        "named by",
        "classes named (target)",
        "seconds",
        *FIGURES,
        "detects, repairs",
    ]
    lines = []
    for row in sorted(rows, key=lambda r: ("version" not in r, r["victim"])):
        by = "a scan" if "version" in row else "all searches"
        cells = [row["victim"], by, _named(row), f"{row['seconds']:.0f}"]
        cells += _figures(row, row["baseline"])
        cells.append(_chosen(row["bundle"]) if "bundle" in row else row.get("refused", ""))
        lines.append(cells)
    return f"{markdown_table(headings, lines)}\n{_count_clean_only(rows)}\n"


def _count_clean_only(rows: Sequence[Row]) -> str:
    """Return how many models are within the bars, as a list."""
    one = [row for row in rows if row.get("target") is not None]
    named = sum(row["named"] == [row["target"]] for row in one)
    counts = [
        f"{named} of {len(one)} victims with one target have it named, and nothing else",
        _within(
            "flagged, of the triggered images that work, at least "
            f"{FLAGGED_OF_WORKING_OTHERWISE:g} ({', '.join(FLAGGED_OF_WORKING)}: "
            f"{min(FLAGGED_OF_WORKING.values()):g}), and at most {FLAGGED_CLEAN:g} of the clean",
            one,
            _flags,
        ),
    ]
    for kind, patches in (("patches", True), ("other triggers", False)):
        of_kind = [row for row in one if row["victim"].startswith("badnets") == patches]
        least = RECOVERED if patches else RECOVERED_OF_OTHERS
        name = f"RA / ceiling of {kind} at least {least:g}, BA change at least {CLEAN_CHANGE:+g}"
        counts.append(
            _within(name, of_kind, lambda row, b=least: _repairs(row, row["baseline"], b))
        )
    return "\n".join(f"- {count}." for count in counts)


def _within(name: str, rows: Sequence[Row], holds: Callable[[Row], bool]) -> str:
    return f"{name}: {sum(map(holds, rows))} of {len(rows)}"


def _flags(row: Row) -> bool:
    """Whether as many triggered images are flagged, of those that work, and as few clean ones."""
    if "figures" not in row:
        return False
    figures, attack = row["figures"], row["victim"].rsplit("-", 1)[0]
    # Of one target, flagged is only what is predicted as it, so none on which the attack fails.
    share = figures["flagged_triggered"] / row["baseline"]["attack_success_rate"]
    least = FLAGGED_OF_WORKING.get(attack, FLAGGED_OF_WORKING_OTHERWISE)
    return bool(share >= least and figures["flagged_clean"] <= FLAGGED_CLEAN)


def _repairs(row: Row, baseline: Mapping[str, float], least: float) -> bool:
    if "figures" not in row:
        return False
    found = score(baseline, row["figures"])
    return found.ratio >= least and found.clean_change >= CLEAN_CHANGE


def searches_table(rows: Sequence[Row]) -> str:
    """Return what each search came to by itself, and what a bundle from that did."""
    headings = ["victim", "search", "classes named (target)", "seconds", *FIGURES, "refused"]
    lines = []
    for row in sorted(rows, key=lambda r: ("baseline" not in r, r["victim"])):
        search = row["method"] + ("" if row["images"] else ", no images")
        cells = [search, _named(row), f"{row['seconds']:.0f}"]
        if "baseline" in row:
            cells += _figures(row, row["baseline"])
        else:
            cells += [""] * len(FIGURES)
        lines.append([row["victim"], *cells, row.get("refused", "")])
    return markdown_table(headings, lines)


def _named(row: Row) -> str:
    """Return the classes that a search named; of a victim, with its target."""
    named = ", ".join(map(str, row["named"])) or "none"
    if "baseline" not in row:
        return named
    return f"{named} ({'several' if row['target'] is None else row['target']})"


def refined_table(rows: Sequence[Row]) -> str:
    """Return what each victim's bundle came to, refined from what it flagged in a stream."""
    headings = [
        "victim",
        "triggered requests",
        "flagged (requests)",
        "of these triggered",
        "kept: triggered",
        *FIGURES,
    ]
    lines = []
    for row in sorted(rows, key=lambda r: r["victim"]):
        for triggered, steps in row.get("refined", {}).items():
            stream = [row["victim"], f"{float(triggered):.0%}"]
            if not steps:
                lines.append([*stream, "fewer than are asked for", *[""] * 7])
            for step in steps:
                cells = [
                    f"{step['flagged']} ({step['requests']})",
                    f"{step['triggered']:.2f}",
                    f"{step['kept']}: {step['kept_triggered']:.2f}"
                    if "kept" in step
                    else "refused",
                    *_figures(step, row["baseline"]),
                ]
                lines.append([*stream, *cells])
    table = markdown_table(headings, lines)
    flagging = [row for row in rows if row.get("target") is not None and _flags(row)]
    counts = []
    for triggered in dict.fromkeys(share for row in rows for share in row.get("refined", {})):
        refined = [row for row in flagging if triggered in row.get("refined", {})]
        met = sum(
            _repairs(last_bundle(row, triggered), row["baseline"], RECOVERED) for row in refined
        )
        counts.append(f"- {met} of {len(refined)} where {float(triggered):.0%} are triggered.\n")
    if counts:
        table += (
            "\nOf the victims whose first bundle flags as asked for, the last bundle of the stream "
            f"comes to RA / ceiling of at least {RECOVERED:g}:\n\n{''.join(counts)}"
        )
    return table


def last_bundle(row: Row, triggered: str) -> Row:
    """Return the last bundle of a victim's stream; where a step refused, it is the one before.

    Args:
        row: of a victim whose first bundle was refined.
        triggered: the share of the stream that is, as the row calls it.
    """
    steps = [row, *row["refined"][triggered]]
    return next(step for step in reversed(steps) if "figures" in step)


def _chosen(bundle: Row) -> str:
    parts = bundle["targets"].values() if "targets" in bundle else [bundle]
    return "; ".join(f"{part['detects']}, {' '.join(part['repairs'])}" for part in parts)


def pool_table(rows: Sequence[Row]) -> str:
    """Return what each method found in mixed pools, and what a bundle from that did."""
    headings = [
        "victim",
        "method",
        "found: of all / of those that work",
        "falsely flagged",
        "seconds",
        *FIGURES,
        "nothing found: clean pool / benign model",
    ]
    lines = []
    for row in sorted(rows, key=lambda r: r["victim"]):
        mixed = row["mixed"]
        if "found" in mixed:
            cells = [
                f"{mixed['found']:.3f} / {mixed['found_of_working']:.3f}",
                f"{mixed['falsely_flagged']:.4f}",
                f"{mixed['split_seconds']:.0f}",
            ]
        else:
            cells = ["none", "", ""]
        cells += _figures(mixed, row["baseline"])
        nothing = (row["nothing_in_clean_pool"], row["nothing_in_benign_model"])
        cells.append(" / ".join("yes" if each else "no" for each in nothing))
        lines.append([row["victim"], row["method"], *cells])
    counts = [
        "A method succeeds on a victim under three conditions. It finds at least "
        f"{FOUND:g} of the triggered images. It flags at most {FLAGGED_CLEAN:g} of the others. "
        f"RA / ceiling is at least {RECOVERED:g}. In so many victims, counting the triggered "
        "images that work (in brackets: all of them):\n"
    ]
    for method in dict.fromkeys(row["method"] for row in rows):
        of_method = [row for row in rows if row["method"] == method]
        of_all = sum(_finds(row, "found") for row in of_method)
        of_working = _within(method, of_method, lambda row: _finds(row, "found_of_working"))
        counts.append(f"- {of_working} ({of_all}).")
    return "\n".join([markdown_table(headings, lines), *counts]) + "\n"


def _finds(row: Row, share: str) -> bool:
    mixed = row["mixed"]
    return bool(
        mixed.get(share, 0) >= FOUND
        and mixed["falsely_flagged"] <= FLAGGED_CLEAN
        and _repairs(mixed, row["baseline"], RECOVERED)
    )


def _figures(row: Row, baseline: Mapping[str, float]) -> list[str]:
    """Return the cells from the attack's success before to that after the repair."""
    before = f"{100 * baseline['attack_success_rate']:.1f}"
    if "figures" not in row:
        return [before, "", "", "", ""]
    figures = row["figures"]
    found = score(baseline, figures)
    return [
        before,
        f"{100 * figures['flagged_triggered']:.1f} / {100 * figures['flagged_clean']:.2f}",
        f"{found.ratio:.3f}",
        f"{found.clean_change:+.2f}",
        f"{found.attack_excess:+.1f}",
    ]
