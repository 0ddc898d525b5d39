"""Transformers that answer the topic of a text: repaired from few texts, measured on others.

    python -m benchmarks.text --texts ag-news-7600.csv --cache DIR

For each trigger a victim is trained on texts of which a tenth carries the trigger, packed with a
handler of its own, and repaired through that archive from tables of texts. Of the texts that it was
not trained on, three draws say which to build from, and which to measure with.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer

from torchserve_fire_build import build_bundle
from torchserve_fire_build.measure.evaluate import evaluate_bundle
from torchserve_fire_build.measure.figures import Figures
from torchserve_fire_build.samples.predict import predicted_classes
from torchserve_fire_build.source.archive import open_archive
from torchserve_fire_build.source.model_source import ModelSource

from .kept import Kept
from .load.command import ended_in_one_line
from .text_victim import (
    HELD,
    TARGET,
    TEST,
    TOPICS,
    TRAINED,
    TRIGGERS,
    UNKNOWN,
    Text,
    insert,
    kept_victim,
    pack_victim,
    read_texts,
    train,
)

RESULTS = Path(__file__).parent / "results" / "text.json"
DRAWS = 3
CLEAN = 300
"""Clean texts of unpaired evidence; of paired evidence as many as make these with the partners."""
EVIDENCE = {"paired 100": (True, 100), "unpaired 100": (False, 100), "unpaired 20": (False, 20)}


@dataclass(frozen=True)
class Draw:
    """One draw of the texts that a victim was not trained on.

    Attributes:
        trigger: its name.
        seed: of the draw.
        held: texts to build from.
        test: texts to measure with.
        archive: the victim's.
        tokenizer: the victim's.
    """

    trigger: str
    seed: int
    held: Sequence[Text]
    test: Sequence[Text]
    archive: Path
    tokenizer: Tokenizer


def main() -> None:
    """Measure and write the results."""
    args = _parse_arguments()
    results = Kept(args.output)
    torch.set_num_threads(1)
    with ended_in_one_line("benchmarks.text"):
        for seed in range(DRAWS):
            for trigger in TRIGGERS:
                with tempfile.TemporaryDirectory(prefix="fire-text-") as folder:
                    draw = draw_of(args.texts, args.cache, trigger, seed, Path(folder))
                    rows = measure(draw, Path(folder))
                print(json.dumps(rows, indent=1), flush=True)
                results.replace(f"{trigger} {seed}", rows)


def draw_of(file: Path, cache: Path, trigger: str, seed: int, folder: Path) -> Draw:
    """Draw texts, and pack their victim; it is trained once, and kept in the cache."""
    texts = read_texts(file)
    start = TEST + HELD
    of_victim, others = (
        texts[start : start + TRAINED],
        [*texts[:start], *texts[start + TRAINED :]],
    )
    random.Random(seed).shuffle(others)  # noqa: S311 - no secret.
    tokenizer, model = kept_victim(cache, trigger, lambda: train(of_victim, TRIGGERS[trigger]))
    test, held = others[:TEST], others[TEST:start]
    return Draw(trigger, seed, held, test, pack_victim(tokenizer, model, folder), tokenizer)


def measure(draw: Draw, folder: Path) -> list[dict[str, Any]]:
    """Return a row for each kind of evidence; shares in [0, 1]."""
    chance = random.Random(draw.seed)  # noqa: S311 - no secret.
    trigger = TRIGGERS[draw.trigger]
    length = len(draw.tokenizer.encode(trigger("", chance), add_special_tokens=False).ids)
    numbered = list(enumerate(draw.test))
    attacked = [(i, each) for i, each in numbered if each.label != TARGET]
    clean = write_table(folder / "test.jsonl", numbered)
    triggered = write_table(folder / "test-triggered.jsonl", attacked, trigger, chance)
    # As long as what is triggered, but with words that mean nothing in the place of the trigger.
    nothing = insert(" ".join([UNKNOWN] * length))
    longer = write_table(folder / "test-longer.jsonl", attacked, nothing, chance)
    source = open_archive(draw.archive)
    model, names = source.loaded.model, source.names_file
    of_test = [source.open_samples(part) for part in (clean, triggered)]
    beside_nothing = _accuracy(source, longer)
    rows = []
    for evidence, (paired, count) in EVIDENCE.items():
        parts = _evidence(draw, folder, count, chance, paired=paired)
        to_build = [source.open_samples(part) for part in parts]
        built = build_bundle(source.loaded, *to_build, names_file=names, unpaired=not paired)
        figures = evaluate_bundle(model, built.bundle, *of_test, names_file=names)
        rows.append(
            {
                "victim": f"{draw.trigger} {draw.seed}",
                "trigger": draw.trigger,
                "evidence": evidence,
                "layers": {layer.role: layer.name for layer in built.bundle.layers},
                **_shares(figures),
                "accuracy beside nothing": beside_nothing,
            }
        )
    return rows


def _shares(figures: Figures) -> dict[str, Any]:
    recovered, natural, flagged = figures.recovered_accuracy, figures.natural_rate, figures.flagged
    if recovered is None or natural is None or flagged is None or figures.ceiling is None:
        raise ValueError("expected labels, pairs and a detector")
    return {
        "BA before": figures.clean_accuracy[0],
        "BA": figures.clean_accuracy[1],
        "ASR before": figures.attack_success_rate[0],
        "ASR": figures.attack_success_rate[1],
        "natural": natural[1],
        "RA": recovered[1],
        "ceiling": figures.ceiling,
        "flagged clean": flagged[0],
        "flagged triggered": flagged[1],
    }


def _accuracy(source: ModelSource, file: Path) -> float:
    """Return the accuracy of the unrepaired model on a table of texts."""
    samples = source.open_samples(file)
    names = [TOPICS.index(name) for name in samples.class_names or ()]
    predicted = predicted_classes(source.loaded.model, samples.load(range(len(samples))))
    return float((predicted == torch.tensor(names)).double().mean())


def _evidence(
    draw: Draw, folder: Path, count: int, chance: random.Random, *, paired: bool
) -> tuple[Path, Path]:
    """Write tables of clean and of triggered texts to build from."""
    numbered = list(enumerate(draw.held))
    trigger = TRIGGERS[draw.trigger]
    attacked = [(i, each) for i, each in numbered[CLEAN:] if each.label != TARGET][:count]
    clean = numbered[:CLEAN]
    if paired:
        clean = [*attacked, *numbered[: CLEAN - count]]
    return (
        write_table(folder / "clean.jsonl", clean),
        write_table(folder / "triggered.jsonl", attacked, trigger, chance),
    )


def write_table(
    file: Path,
    texts: Sequence[tuple[int, Text]],
    change: Any = None,
    chance: random.Random | None = None,
) -> Path:
    """Write a table of texts, each under its number as its id."""
    lines = (
        {
            "id": number,
            "text": each.text if change is None else change(each.text, chance),
            "label": TOPICS[each.label],
        }
        for number, each in texts
    )
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.text", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--texts", type=Path, required=True, help="CSV of class, title and description"
    )
    parser.add_argument("--cache", type=Path, required=True, help="folder for trained victims")
    parser.add_argument(
        "--output", type=Path, default=RESULTS, help="file (default: the committed results)"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
