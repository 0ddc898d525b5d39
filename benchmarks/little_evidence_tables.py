"""Tables of the repairs from less than triggered samples: clean images alone, and mixed pools."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .victim_tables import score

Row = Mapping[str, Any]


def clean_only_table(rows: Sequence[Row]) -> str:
    """Return what searching each model came to, and what a bundle from that did."""
    lines = [
        "| victim | classes named (target) | seconds | ASR before | flagged: triggered / clean "
        "| RA / ceiling | BA change | ASR above natural | tells, repairs |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in sorted(rows, key=lambda r: ("baseline" not in r, r["victim"])):
        named = ", ".join(map(str, row["named"])) or "none"
        cells = [named, f"{row['seconds']:.0f}"]
        if "baseline" in row:
            cells[0] += f" ({'several' if row['target'] is None else row['target']})"
            cells += _figures(row, row["baseline"])
            cells.append(_chosen(row["bundle"]) if "bundle" in row else row.get("refused", ""))
        else:
            cells += [""] * 6
        lines.append(f"| {row['victim']} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def refined_table(rows: Sequence[Row]) -> str:
    """Return what each victim's bundle came to, refined from what it flagged in a stream."""
    lines = [
        "| victim | triggered requests | flagged (requests) | of these triggered | kept: triggered "
        "| ASR before | flagged: triggered / clean | RA / ceiling | BA change "
        "| ASR above natural |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in sorted(rows, key=lambda r: r["victim"]):
        for triggered, steps in row.get("refined", {}).items():
            for step in steps:
                cells = [
                    f"{float(triggered):.0%}",
                    f"{step['flagged']} ({step['requests']})",
                    f"{step['triggered']:.2f}",
                    f"{step['kept']}: {step['kept_triggered']:.2f}"
                    if "kept" in step
                    else step["refused"],
                    *_figures(step, row["baseline"]),
                ]
                lines.append(f"| {row['victim']} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _chosen(bundle: Row) -> str:
    parts = bundle["targets"].values() if "targets" in bundle else [bundle]
    return "; ".join(f"{part['tells']}, {' '.join(part['repairs'])}" for part in parts)


def pool_table(rows: Sequence[Row]) -> str:
    """Return what each method found in mixed pools, and what a bundle from that did."""
    lines = [
        "| victim | method | found: of all / of those that work | falsely flagged | seconds "
        "| ASR before | flagged: triggered / clean | RA / ceiling | BA change | ASR above natural "
        "| clean pool / benign model told |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
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
        told = (row["clean_pool_told"], row["benign_model_told"])
        cells.append(" / ".join("yes" if each else "no" for each in told))
        lines.append(f"| {row['victim']} | {row['method']} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


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
