"""Write the tables of the documents from the committed results; figures are never typed.

python benchmarks/write_tables.py
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from pathlib import Path
from statistics import mean
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
ZOO_RESULTS = ROOT / "benchmarks" / "results" / "zoo.json"
NAMES = {"badnets": "BadNets", "blended": "Blended", "wanet": "WaNet"}


def main() -> None:
    """Bring the tables in the README up to date."""
    README.write_text(with_tables(README.read_text()))


def with_tables(text: str) -> str:
    """Return a document with the contents of its `<!-- begin NAME -->` sections made anew."""
    return replace_section(text, "zoo", zoo_table(json.loads(ZOO_RESULTS.read_text())))


def replace_section(text: str, name: str, contents: str) -> str:
    """Return a document with what stands between two markers replaced."""
    pattern = rf"(<!-- begin {name} -->\n).*?(<!-- end {name} -->)"
    return re.sub(pattern, lambda m: m[1] + contents + m[2], text, count=1, flags=re.DOTALL)


def zoo_table(results: list[dict[str, Any]]) -> str:
    """Return the table of the zoo's results, the mean over seeds, in percent."""
    lines = [
        "| trigger | calibration | clean accuracy | attack success rate | recovered accuracy "
        "| of the ceiling | flagged: clean / triggered |",
        "|---|---|---|---|---|---|---|",
    ]
    rows: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for result in results:
        rows[result["attack"], result["evidence"]].append(result)
    for (attack, evidence), runs in sorted(rows.items()):
        figures = [run["figures"] for run in runs]

        def percent(*path: str, figures: list[dict[str, Any]] = figures) -> float:
            values: list[Any] = figures
            for key in path:
                values = [value[key] for value in values]
            return 100 * mean(values)

        def change(name: str, percent: Any = percent) -> str:
            return f"{percent(name, 'before'):.2f} → **{percent(name, 'after'):.2f}**"

        recovered = "recovered_accuracy"
        ratio = percent(recovered, "after") / percent(recovered, "ceiling")
        natural = 100 * mean(run["natural_rate"] for run in runs)
        lines.append(
            f"| {NAMES[attack]} | {evidence} | {change('clean_accuracy')} "
            f"| {change('attack_success_rate')} (natural: {natural:.2f}) | {change(recovered)} "
            f"| {ratio:.3f} of {percent(recovered, 'ceiling'):.2f} "
            f"| {percent('flagged', 'clean'):.2f} / {percent('flagged', 'triggered'):.2f} |"
        )
    seeds = len({result["seed"] for result in results})
    drawn = f"Mean of {seeds} draws" if seeds > 1 else "One draw"
    return "\n".join(lines) + f"\n\n{drawn} of the calibration images.\n"


if __name__ == "__main__":
    main()
