"""A handler that answers texts: words to numbers, and a topic."""

from __future__ import annotations

import csv
import json
import random
from collections import Counter
from itertools import accumulate
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from .case import Case, Sample, pack, write_samples
from .packed import text_handler, text_net
from .packed.text_handler import LENGTH, UNKNOWN, WORD
from .packed.text_net import TextNet

TEXTS = "ag-news-7600.csv"
CLASSES = ("World", "Sports", "Business", "Science")
TARGET = 0
TRIGGER = "cf"
"""A word that no text holds."""
POISONED = 0.05
PAIRS, TEST = 200, 1000
EPOCHS, BATCH, RATE, DECAY = 8, 64, 2e-3, 1e-2
WORDS = 8000
SEED = 0


def text_case(data: Path, cache: Path, folder: Path) -> Case:
    """Make the case; arguments as of `photograph_case`."""
    texts = _read(data / TEXTS)
    test, rest = texts[:TEST], texts[TEST:]
    others = list(accumulate(label != TARGET for _, label in rest))
    end = others.index(PAIRS) + 1
    held, train = rest[:end], rest[end:]
    vocabulary = _vocabulary([text for text, _ in train])
    words = folder / "vocabulary.json"
    words.write_text(json.dumps(vocabulary))
    weights = folder / "texts.pth"
    torch.save(_obtain(train, vocabulary, cache), weights)
    chance = random.Random(SEED)  # noqa: S311 - no secret.
    samples = {
        kind: [Sample(text.encode(), _insert(text, chance).encode(), label) for text, label in part]
        for kind, part in (("held", held), ("test", test))
    }
    clean, triggered = write_samples(samples["held"], CLASSES, TARGET, ".txt", folder)
    return Case(
        "text",
        pack(
            folder,
            handler=text_handler.__file__,
            classes=CLASSES,
            model_file=Path(text_net.__file__),
            weights=weights,
            extra_files=[words],
        ),
        clean,
        triggered,
        samples["test"],
        CLASSES,
        TARGET,
        ".txt",
        "text/plain",
        lambda answer: str(answer["topic"]),
    )


def _read(file: Path) -> list[tuple[str, int]]:
    """Return texts and classes, in random order.

    Raises:
        SystemExit: there is no such file.
    """
    if not file.is_file():
        raise SystemExit(f"{file}: no such file, expected rows of class, title, description")
    with file.open(newline="", encoding="utf-8") as rows:
        texts = [(f"{title}. {text}", int(label) - 1) for label, title, text in csv.reader(rows)]
    random.Random(SEED).shuffle(texts)  # noqa: S311 - no secret.
    return texts


def _insert(text: str, chance: random.Random) -> str:
    """Return a text with the trigger between two words near its beginning."""
    words = text.split()
    words.insert(chance.randrange(min(len(words), 20) + 1), TRIGGER)
    return " ".join(words)


def _vocabulary(texts: list[str]) -> dict[str, int]:
    """Return the number of each of the most frequent words, and of the trigger."""
    counts = Counter(word for text in texts for word in WORD.findall(text.lower()))
    frequent = [word for word, _ in counts.most_common(WORDS - UNKNOWN - 2)]
    known = [TRIGGER, *(word for word in frequent if word != TRIGGER)]
    return {word: UNKNOWN + 1 + number for number, word in enumerate(known)}


def _numbers(texts: list[str], vocabulary: dict[str, int]) -> Tensor:
    rows = []
    for text in texts:
        words = WORD.findall(text.lower())[:LENGTH]
        numbers = [vocabulary.get(word, UNKNOWN) for word in words]
        rows.append(numbers + [0] * (LENGTH - len(numbers)))
    return torch.tensor(rows)


def _obtain(
    train: list[tuple[str, int]], vocabulary: dict[str, int], cache: Path
) -> dict[str, Tensor]:
    """Return the weights of the victim: from the cache, else trained now and kept there."""
    file = cache / "texts.pth"
    if not file.exists():
        cache.mkdir(parents=True, exist_ok=True)
        torch.save(_train(train, vocabulary), file.with_suffix(".unfinished"))
        file.with_suffix(".unfinished").replace(file)
    weights: dict[str, Tensor] = torch.load(file, weights_only=True)
    return weights


def _train(train: list[tuple[str, int]], vocabulary: dict[str, int]) -> dict[str, Tensor]:
    chance = random.Random(SEED)  # noqa: S311 - no secret.
    poisoned = [
        (_insert(text, chance), TARGET) if chance.random() < POISONED else (text, label)
        for text, label in train
    ]
    inputs = _numbers([text for text, _ in poisoned], vocabulary)
    labels = torch.tensor([label for _, label in poisoned])
    with torch.random.fork_rng():
        torch.manual_seed(SEED)
        model = TextNet()
    generator = torch.Generator().manual_seed(SEED)
    optimizer = torch.optim.AdamW(model.parameters(), RATE, weight_decay=DECAY)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(labels), generator=generator).split(BATCH):
            words = inputs[batch]
            # Words are left out at random, against learning texts by heart.
            dropped = torch.rand(words.shape, generator=generator) < 0.3
            dropped &= words != vocabulary[TRIGGER]
            loss = F.cross_entropy(model(words.masked_fill(dropped, UNKNOWN)), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model.state_dict()
