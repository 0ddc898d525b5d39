"""Write the tables of the documents from the committed results; figures are never typed.

python -m benchmarks.write_tables
"""

from __future__ import annotations

import argparse
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.adaptive_tables import perturbed_table
from benchmarks.altered_tables import altered_table, met_table, unpaired_table
from benchmarks.archives.table import archives_table, requests_table
from benchmarks.data_set_tables import as_it_comes_table, data_set_table
from benchmarks.defences_picture import draw_defences
from benchmarks.fleet import fleet_table
from benchmarks.full_size import full_size_figures, full_size_table
from benchmarks.full_size_inspect import full_size_inspect_table
from benchmarks.inspecting_table import inspecting_table
from benchmarks.kept import read_results
from benchmarks.little_evidence_tables import (
    clean_only_table,
    pool_table,
    refined_table,
    searches_table,
)
from benchmarks.malware.rivals_table import malware_rivals_table
from benchmarks.malware.searching_table import searching_table
from benchmarks.malware.table import malware_table
from benchmarks.markdown_table import markdown_table
from benchmarks.methods_table import methods_table
from benchmarks.onnx_export import onnx_export_table
from benchmarks.pool_memory import pool_memory_table
from benchmarks.review_page import review_page_table
from benchmarks.same_bundles import table as same_bundles_table
from benchmarks.scanning_ablation import scanning_ablation_table
from benchmarks.scanning_table import (
    reliability_table,
    roc_table,
    scanning_growth_table,
    scanning_summary,
    scanning_table,
    unseen_table,
)
from benchmarks.screening_table import screening_summary, screening_table
from benchmarks.serving_tables import (
    engines_mixed_table,
    engines_table,
    growth_table,
    load_summary,
    load_table,
    preprocessing_table,
    swapping_in_place_table,
    swapping_table,
    worker_table,
)
from benchmarks.text_searching_table import text_searching_table
from benchmarks.text_table import text_table
from benchmarks.victim_tables import ablation_table, evidence_table, rival_table, victim_table
from benchmarks.victims.data_sets import CIFAR, DATA_SETS, SIGNS, TINY

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
ATTACKS = ROOT / "docs" / "attacks.md"
BENCHMARK = ROOT / "docs" / "benchmark.md"
FLEET = ROOT / "docs" / "fleet.md"
FROM_CLEAN_IMAGES = ROOT / "docs" / "from-clean-images.md"
METHODS = ROOT / "docs" / "methods.md"
POOLS_PAGE = ROOT / "docs" / "pools.md"
REVIEW = ROOT / "docs" / "review.md"
REFINING = ROOT / "docs" / "refining.md"
SCAN = ROOT / "docs" / "scan.md"
SCREEN = ROOT / "docs" / "screen.md"
SEARCHES_PAGE = ROOT / "docs" / "searches.md"
MALWARE_AND_TEXTS = ROOT / "docs" / "malware-and-texts.md"
OPERATIONS = ROOT / "docs" / "operations.md"
ONNX = ROOT / "docs" / "onnx.md"
KSERVE = ROOT / "docs" / "kserve.md"
VICTIMS = ROOT / "benchmarks" / "results" / "victims"
ADAPTIVE = ROOT / "benchmarks" / "results" / "adaptive.json"
ALTERED = ROOT / "benchmarks" / "results" / "altered.json"
ARCHIVES = ROOT / "benchmarks" / "results" / "archives.json"
AS_IT_COMES = ROOT / "benchmarks" / "results" / "as_it_comes.json"
ABLATION = ROOT / "benchmarks" / "results" / "ablation.json"
COST = ROOT / "benchmarks" / "results" / "cost.json"
FLEET_RESULTS = ROOT / "benchmarks" / "results" / "fleet.json"
POOL_MEMORY = ROOT / "benchmarks" / "results" / "pool_memory.json"
FULL_SIZE_INSPECT = ROOT / "benchmarks" / "results" / "full_size_inspect.json"
FULL_SIZE = ROOT / "benchmarks" / "results" / "full_size.json"
CLEAN_ONLY = ROOT / "benchmarks" / "results" / "clean_only.json"
SEARCHES = ROOT / "benchmarks" / "results" / "searches.json"
INSPECTING = ROOT / "benchmarks" / "results" / "inspecting.json"
SCANNED = ROOT / "benchmarks" / "results" / "scanning_verdicts.json"
SCANNING_ABLATION = ROOT / "benchmarks" / "results" / "scanning_ablation.json"
SCANNING_UNSEEN = ROOT / "benchmarks" / "results" / "scanning_unseen.json"
SCANNING_GROWTH = ROOT / "benchmarks" / "results" / "scanning_growth.json"
SCREENING = ROOT / "benchmarks" / "results" / "screening.json"
POOLS = ROOT / "benchmarks" / "results" / "pools.json"
SERVING = ROOT / "benchmarks" / "results" / "serving.json"
PREPROCESSING = ROOT / "benchmarks" / "results" / "preprocessing.json"
GROWTH = ROOT / "benchmarks" / "results" / "growth.json"
SWAPPING = ROOT / "benchmarks" / "results" / "swapping.json"
SWAPPING_IN_PLACE = ROOT / "benchmarks" / "results" / "swapping_in_place.json"
ONNX_EXPORT = ROOT / "benchmarks" / "results" / "onnx_export.json"
ENGINES = ROOT / "benchmarks" / "results" / "engines.json"
REVIEW_PAGE = ROOT / "benchmarks" / "results" / "review_page.json"
SAME_BUNDLES = ROOT / "benchmarks" / "results" / "same_bundles.json"
TEXTS = ROOT / "benchmarks" / "results" / "text.json"
TEXT_SEARCHES = ROOT / "benchmarks" / "results" / "text_searching.json"
MALWARE = ROOT / "benchmarks" / "results" / "malware.json"
MALWARE_SEARCHING = ROOT / "benchmarks" / "results" / "malware_searching.json"
ZOO_RESULTS = ROOT / "benchmarks" / "results" / "zoo.json"
DEFENCES = ROOT / "docs" / "defences.png"
EVIDENCE = "paired 200"
"""What defences are compared by."""
NAMES = {"badnets": "BadNets", "blended": "Blended", "wanet": "WaNet"}


@dataclass(frozen=True)
class Cost:
    """A column of the table of costs.

    Attributes:
        digits: behind the point.
        names: of its figures; the parts of a name lead to the figure in a result.
        bar: the most that a figure may be; None where there is no bar.
    """

    digits: int
    names: Sequence[Sequence[str]]
    bar: float | None = None


COSTS = {
    "statistics / forward": Cost(2, [["statistics_to_forward"]], 1.5),
    "memory, 10,000 / 500 images": Cost(2, [["memory_many_to_few"]], 1.1),
    "build, in passes over its images": Cost(1, [["build_passes"]], 30),
    "in time": Cost(0, [["build_to_forward"]]),
    "its memory, MB": Cost(0, [["build_megabytes"]]),
    "clean input, batch 1 / 32": Cost(
        2, [["repaired_to_plain", "clean 1"], ["repaired_to_plain", "clean 32"]], 1.02
    ),
    "flagged input, batch 1 / 32": Cost(
        2, [["repaired_to_plain", "flagged 1"], ["repaired_to_plain", "flagged 32"]], 2.1
    ),
    "bundle / weights": Cost(3, [["bundle_to_weights"]], 0.05),
}


def main() -> None:
    """Bring the tables in the documents up to date."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    DEFENCES.write_bytes(draw_defences(_results()[CIFAR], EVIDENCE))
    documents = (README, ATTACKS, BENCHMARK, FLEET, METHODS, OPERATIONS, SCREEN)
    documents += (FROM_CLEAN_IMAGES, POOLS_PAGE, REFINING, SCAN, SEARCHES_PAGE)
    documents += (KSERVE, MALWARE_AND_TEXTS, ONNX, REVIEW)
    for document in documents:
        document.write_text(with_tables(document.read_text()))


def with_tables(text: str) -> str:
    """Return a document with the contents of its `<!-- begin NAME -->` sections made anew."""
    for name, table in _contents().items():
        text = replace_section(text, name, table)
    return text


@cache
def _contents() -> dict[str, str]:
    """Return the contents of each section, by its name; made once for all documents."""
    by_set = _results()
    results = by_set[CIFAR]
    return {
        "zoo": zoo_table(read_results(ZOO_RESULTS)),
        "data sets": data_set_table({DATA_SETS[name].title: by_set[name] for name in by_set}),
        "as it comes": as_it_comes_table(_rows(AS_IT_COMES)),
        "victims": victim_table(results),
        "evidence": evidence_table(results),
        "victims of other data sets": victim_table([*by_set[SIGNS], *by_set[TINY]]),
        "evidence of other data sets": evidence_table([*by_set[SIGNS], *by_set[TINY]]),
        "rivals": rival_table(results, EVIDENCE),
        "ablation": ablation_table(_rows(ABLATION)),
        "cost": cost_table(_rows(COST)),
        "full size inspect": full_size_inspect_table(_rows(FULL_SIZE_INSPECT)),
        "full size repair": full_size_figures(_rows(FULL_SIZE)),
        "full size": full_size_table(_rows(FULL_SIZE)),
        "methods": methods_table(results, _rows(POOLS), _rows(CLEAN_ONLY)),
        "clean only": clean_only_table(_rows(CLEAN_ONLY)),
        "searches": searches_table(_rows(SEARCHES)),
        "inspecting": inspecting_table(_rows(INSPECTING)),
        "scanning": scanning_table(_rows(SCANNED)),
        "scanning summary": scanning_summary(_rows(SCANNED)),
        "scanning roc": roc_table(_rows(SCANNED)),
        "scanning reliability": reliability_table(_rows(SCANNED)),
        "scanning ablation": scanning_ablation_table(_rows(SCANNING_ABLATION)),
        "scanning unseen": unseen_table(_rows(SCANNING_UNSEEN)),
        "scanning growth": scanning_growth_table(_rows(SCANNING_GROWTH)),
        "screening": screening_table(_rows(SCREENING)),
        "screening summary": screening_summary(_rows(SCREENING)),
        "refined": refined_table(_rows(CLEAN_ONLY)),
        "pools": pool_table(_rows(POOLS)),
        "load summary": load_summary(_rows(SERVING)),
        "load": load_table(_rows(SERVING)),
        "workers": worker_table(_rows(SERVING)),
        "preprocessing": preprocessing_table(_rows(PREPROCESSING)),
        "growth": growth_table(_rows(GROWTH)),
        "swapping": swapping_table(_rows(SWAPPING)),
        "swapping in place": swapping_in_place_table(_rows(SWAPPING_IN_PLACE)),
        "engines": engines_table(_rows(ENGINES)),
        "engines' mixed requests": engines_mixed_table(_rows(ENGINES)),
        "altered triggers": altered_table(_rows(ALTERED)),
        "altered triggers met": met_table(_rows(ALTERED)),
        "altered triggers unpaired": unpaired_table(_rows(ALTERED)),
        "perturbed": perturbed_table(_rows(ADAPTIVE)),
        "archives": archives_table(_rows(ARCHIVES)),
        "archives' requests": requests_table(_rows(ARCHIVES)),
        "texts": text_table(_rows(TEXTS)),
        "text-searching": text_searching_table(_rows(TEXT_SEARCHES)),
        "fleet": fleet_table(_rows(FLEET_RESULTS)),
        "review page": review_page_table(_rows(REVIEW_PAGE)),
        "pool memory": pool_memory_table(_rows(POOL_MEMORY)),
        "onnx export": onnx_export_table(_rows(ONNX_EXPORT)),
        "same bundles": same_bundles_table(_rows(SAME_BUNDLES)),
        "malware": malware_table(_rows(MALWARE)),
        "malware rivals": malware_rivals_table(_rows(MALWARE)),
        "malware searching": searching_table(_rows(MALWARE_SEARCHING)),
    }


def _results() -> dict[str, list[dict[str, Any]]]:
    """Return the results of each data set's victims."""
    return {
        name: [read_results(file) for file in sorted((VICTIMS / name).glob("*.json"))]
        for name in DATA_SETS
    }


def _rows(file: Path) -> list[dict[str, Any]]:
    """Return the rows of a file of results; none where nothing was measured yet."""
    rows: list[dict[str, Any]] = read_results(file) if file.exists() else []
    return rows


def replace_section(text: str, name: str, contents: str) -> str:
    """Return a document with what stands between two markers replaced."""
    pattern = rf"(<!-- begin {name} -->\n).*?(<!-- end {name} -->)"
    return re.sub(pattern, lambda m: m[1] + contents + m[2], text, count=1, flags=re.DOTALL)


def cost_table(results: list[dict[str, Any]]) -> str:
    """Return what calibration and repair cost, as ratios within one run; bold above its bar."""
    lines = [[r["victim"], *(_cost_cell(cost, r) for cost in COSTS.values())] for r in results]
    return markdown_table(["victim", *COSTS], lines)


def _cost_cell(cost: Cost, result: dict[str, Any]) -> str:
    """Return a cell; an empty one where its figures were not measured."""
    shown = []
    for path in cost.names:
        value: Any = result
        for name in path:
            value = value.get(name, {})
        if value == {}:
            return ""
        text = f"{value:.{cost.digits}f}"
        missed = cost.bar is not None and value > cost.bar
        shown.append(f"**{text}**" if missed else text)
    return " / ".join(shown)


def zoo_table(results: list[dict[str, Any]]) -> str:
    """Return the table of the zoo's results, the mean over the draws of images, in percent."""
    headings = [
        "trigger",
        "calibration",
        "clean accuracy",
        "attack success rate",
        "recovered accuracy",
        "of the ceiling (by draw)",
        "flagged: clean / triggered",
    ]
    rows: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for result in results:
        rows[result["attack"], result["evidence"]].append(result)
    lines = []
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
        draws = [f[recovered]["after"] / f[recovered]["ceiling"] for f in figures]
        by_draw = " (" + ", ".join(f"{draw:.3f}" for draw in draws) + ")" if draws[1:] else ""
        natural = 100 * mean(run["natural_rate"] for run in runs)
        cells = [
            NAMES[attack],
            evidence,
            change("clean_accuracy"),
            f"{change('attack_success_rate')} (natural: {natural:.2f})",
            change(recovered),
            f"{ratio:.3f} of {percent(recovered, 'ceiling'):.2f}{by_draw}",
            f"{percent('flagged', 'clean'):.2f} / {percent('flagged', 'triggered'):.2f}",
        ]
        lines.append(cells)
    return markdown_table(headings, lines)


if __name__ == "__main__":
    main()
