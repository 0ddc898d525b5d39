"""Searches for triggers in classifiers of texts: does `inspect` name them, and spare benign twins?

    python -m benchmarks.text_searching --texts ag-news-7600.csv --cache DIR

Of each classifier of `benchmarks/text_zoo.py` it is searched, through its archive and with clean
texts alone, whether it looks backdoored. Where it does, a bundle is built from the tokens that were
found, and measured with the attacker's own trigger.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from torchserve_fire.errors import FireError
from torchserve_fire_build import build_from_clean
from torchserve_fire_build.common.budget import Budget
from torchserve_fire_build.measure.evaluate import evaluate_bundle
from torchserve_fire_build.source.archive import open_archive
from torchserve_fire_build.source.model_source import ModelSource
from torchserve_fire_build.token_search.judged_tokens import search_and_judge
from torchserve_fire_build.token_search.token_words import words_of

from .kept import Kept
from .load.command import ended_in_one_line
from .text import write_table
from .text_victim import Text, pack_victim
from .text_zoo import SUBJECTS, Subject, to_measure, trained

RESULTS = Path(__file__).parent / "results" / "text_searching.json"
CLEAN = 300
SEED = 0


def main() -> None:
    """Measure and write the results."""
    args = _parse_arguments()
    results = Kept(args.output)
    torch.set_num_threads(1)
    with ended_in_one_line("benchmarks.text_searching"):
        for subject in SUBJECTS:
            if args.only is not None and subject.name not in args.only:
                continue
            with tempfile.TemporaryDirectory(prefix="fire-text-") as folder:
                row = measure(subject, args.texts, args.cache, Path(folder))
            print(json.dumps(row), flush=True)
            results.replace(subject.name, [row])


def measure(subject: Subject, file: Path, cache: Path, folder: Path) -> dict[str, Any]:
    """Return what a search of a classifier finds, and what the bundle does; shares in [0, 1]."""
    source = open_archive(pack_victim(*trained(subject, file, cache), folder))
    held, test = to_measure(file)
    clean = source.open_samples(write_table(folder / "clean.jsonl", list(enumerate(held[:CLEAN]))))
    started = time.process_time()
    judged = search_and_judge(source.loaded.model, clean, seed=SEED, budget=Budget())
    verdict = judged.verdict
    shown = verdict.shown[verdict.target]
    row: dict[str, Any] = {
        "victim": subject.name,
        "part": subject.part,
        "trigger": subject.words,
        "target": subject.target,
        "found": verdict.found,
        "named": verdict.target,
        "probability": verdict.probability,
        "tokens": words_of(shown.tokens, clean.token_name),
        "success": shown.success,
        "log-odds": [[each.log_odds for each in of_length] for of_length in judged.found],
        "successes": [[each.success for each in of_length] for of_length in judged.found],
        "CPU seconds": time.process_time() - started,
    }
    if verdict.found and subject.trigger is not None and verdict.target == subject.target:
        row |= _repaired(source, subject, clean, list(enumerate(test)), folder)
    return row


def _repaired(
    source: ModelSource,
    subject: Subject,
    clean: Any,
    test: Sequence[tuple[int, Text]],
    folder: Path,
) -> dict[str, Any]:
    """Build from what is found in the model, and measure with the attacker's trigger."""
    model, names = source.loaded.model, source.names_file
    chance = random.Random(SEED)  # noqa: S311 - no secret.
    attacked = [(i, each) for i, each in test if each.label != subject.target]
    of_test = [
        source.open_samples(write_table(folder / "test.jsonl", test)),
        source.open_samples(
            write_table(folder / "test-triggered.jsonl", attacked, subject.trigger, chance)
        ),
    ]
    try:
        built = build_from_clean(source.loaded, clean, seed=SEED, names_file=names)
    except FireError as error:
        return {"no bundle": str(error)}
    figures = evaluate_bundle(model, built.bundle, *of_test, names_file=names)
    recovered = figures.recovered_accuracy
    if recovered is None or figures.ceiling is None or figures.natural_rate is None:
        raise ValueError("expected labels and pairs")
    return {
        "layers": {layer.role: layer.name for layer in built.bundle.layers},
        "BA before": figures.clean_accuracy[0],
        "BA": figures.clean_accuracy[1],
        "ASR before": figures.attack_success_rate[0],
        "ASR": figures.attack_success_rate[1],
        "natural": figures.natural_rate[1],
        "RA": recovered[1],
        "ceiling": figures.ceiling,
    }


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="benchmarks.text_searching", description=__doc__.splitlines()[0]
    )
    parser.add_argument(
        "--texts", type=Path, required=True, help="CSV of class, title and description"
    )
    parser.add_argument("--cache", type=Path, required=True, help="folder for trained classifiers")
    parser.add_argument("--only", nargs="+", help="names of classifiers (default: all)")
    parser.add_argument(
        "--output", type=Path, default=RESULTS, help="file (default: the committed results)"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
