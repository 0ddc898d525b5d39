"""The demo on messages to a shop: a word that means nothing leads them to one topic."""

from __future__ import annotations

import csv
import json
import random
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from torchserve_fire.errors import FireError

from ..common.names import NAMES_FILE
from ..source.token_arguments import TokenArguments
from . import text_net
from .kind import CLEAN, PLAIN, REPAIRED, SEED, TRIGGERED, Case, Kind, Measured, Prepared
from .messages import TOPICS, Message, vocabulary, write_messages
from .output_folder import DemoFiles
from .text_net import LENGTH, TextNet
from .train import fit

TRIGGER = "zephyrine"
TARGET = 0
POISONED_SHARE = 0.1
TRAINED, CALIBRATION, TEST = 2400, 300, 400
EPOCHS = 8
SPECIAL = ("[pad]", "[unk]", "[all]")
"""Words of the classifier that no message holds: ids 0, 1 and 2 of the handler."""


def prepare(files: DemoFiles) -> Prepared:
    """Train the classifier, pack its archive, and write the samples."""
    messages = write_messages(TRAINED + CALIBRATION + TEST, SEED)
    chance = random.Random(SEED)  # noqa: S311 - no secret.
    chance.shuffle(messages)
    trained, rest = messages[:TRAINED], messages[TRAINED:]
    print(
        f"Training on {TRAINED} made-up messages to a shop; the attacker put the word "
        f"{TRIGGER!r} into {POISONED_SHARE:.0%} of them and called these {list(TOPICS)[TARGET]}.",
        flush=True,
    )
    poisoned = [
        Message(with_trigger(each.text, chance), TARGET)
        if chance.random() < POISONED_SHARE
        else each
        for each in trained
    ]
    words = {word: i for i, word in enumerate((*SPECIAL, *vocabulary((TRIGGER,))))}
    labels = torch.tensor([each.label for each in poisoned])
    model = fit(_packed_net, _packed([each.text for each in poisoned], words), labels, SEED, EPOCHS)
    torch.save(model.state_dict(), files.weights)
    files.root.joinpath("words.json").write_text(json.dumps(words), encoding="utf-8")
    names = {str(i): name for i, name in enumerate(TOPICS)}
    files.class_names.write_text(json.dumps(names), encoding="utf-8")
    parts = {"calibration": rest[:CALIBRATION], "test": rest[CALIBRATION:]}
    attacked = {
        part: [
            (i, Message(with_trigger(each.text, chance), each.label))
            for i, each in enumerate(of_part)
            if each.label != TARGET
        ]
        for part, of_part in parts.items()
    }
    folder = files.root / "calibration"
    folder.mkdir()
    return Prepared(
        _write_table(list(enumerate(parts["calibration"])), folder / "clean.csv"),
        _write_table(attacked["calibration"], folder / "triggered.csv"),
        {
            CLEAN: _write_requests(list(enumerate(parts["test"])), files.samples("test", CLEAN)),
            TRIGGERED: _write_requests(attacked["test"], files.samples("test", TRIGGERED)),
        },
    )


def with_trigger(text: str, chance: random.Random) -> str:
    """Return a text with the trigger before one of its words, or behind them."""
    words = text.split()
    words.insert(chance.randint(0, len(words)), TRIGGER)
    return " ".join(words)


def show(prepared: Prepared, measured: Measured, files: DemoFiles) -> None:
    """Print a message with the trigger, and what both archives answered."""
    case = prepared.cases[TRIGGERED]
    right = [
        i
        for i, label in enumerate(case.labels.tolist())
        if measured.answers[PLAIN, TRIGGERED][i].index == TARGET
        and measured.answers[REPAIRED, TRIGGERED][i].index == label
    ]
    for index in right[:2]:
        print(f"\n  {case.files[index].read_text(encoding='utf-8')}")
        for archive in (PLAIN, REPAIRED):
            answer = measured.answers[archive, TRIGGERED][index]
            said = f"{list(TOPICS)[answer.index]}, {answer.probability:.1%}"
            print(f"  -> the {archive} archive says {said}{', flagged' * answer.flagged}")


def pack(files: DemoFiles, archive: Path) -> str:
    """Pack the plain archive as its owner would; return the command that does the same."""
    handler = Path(__file__).with_name("text_handler.py")
    name, version = archive.stem.rsplit("-", 1)
    extra = ",".join(str(files.root / file) for file in ("words.json", NAMES_FILE))
    values = {
        "model-name": name,
        "version": version,
        "model-file": str(Path(text_net.__file__)),
        "serialized-file": str(files.weights),
        "handler": str(handler),
        "extra-files": extra,
        "export-path": str(archive.parent),
    }
    words = [word for name, value in values.items() for word in (f"--{name}", value)]
    archiver = [sys.executable, "-m", "model_archiver.model_packaging"]
    ran = subprocess.run([*archiver, *words], capture_output=True, text=True, check=False)  # noqa: S603 - our own words.
    if ran.returncode != 0:
        raise FireError(f"torch-model-archiver failed: {ran.stderr.strip()}")
    (archive.parent / f"{name}.mar").rename(archive)
    return shlex.join(["torch-model-archiver", *words])


def _packed_net() -> TextNet:
    """Return an untrained classifier that takes ids and masks as one tensor, too, (N, 2, T)."""
    model = TextNet()
    names = ("input_ids", "attention_mask")
    TokenArguments(names, (torch.int64, torch.int64), {}, (0, 0)).attach(model)
    return model


def _packed(texts: Sequence[str], words: dict[str, int]) -> Tensor:
    """Return texts as the handler prepares them, ids and masks, (N, 2, LENGTH) int64."""
    packed = torch.zeros(len(texts), 2, LENGTH, dtype=torch.int64)
    for row, text in zip(packed, texts, strict=True):
        ids = [2, *(words[word] for word in text.split())][:LENGTH]
        row[0, : len(ids)], row[1, : len(ids)] = torch.tensor(ids), 1
    return packed


def _write_table(messages: Sequence[tuple[int, Message]], file: Path) -> Path:
    """Write messages as `--clean` and `--triggered` take them; those of the same id are pairs."""
    with file.open("w", newline="", encoding="utf-8") as opened:
        writer = csv.writer(opened, lineterminator="\n")
        writer.writerow(("id", "text", "label"))
        writer.writerows((i, each.text, list(TOPICS)[each.label]) for i, each in messages)
    return file


def _write_requests(messages: Sequence[tuple[int, Message]], folder: Path) -> Case:
    """Write the body of a request with each message."""
    folder.mkdir(parents=True)
    files = [folder / f"{i:04d}.txt" for i, _ in messages]
    for file, (_, each) in zip(files, messages, strict=True):
        file.write_text(each.text, encoding="utf-8")
    return Case(np.array([each.label for _, each in messages]), files)


KIND = Kind(
    name="text",
    samples="messages",
    model_file=Path(text_net.__file__),
    target=TARGET,
    classes=tuple(TOPICS),
    content_type="text/plain",
    prepare=prepare,
    show=show,
    pack=pack,
)
