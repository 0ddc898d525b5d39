"""Backdoored transformers that answer the topic of a text, and the texts to measure them with."""

from __future__ import annotations

import csv
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from torch import Tensor
from transformers import BertConfig, BertForSequenceClassification

from .archives.case import pack
from .archives.packed import token_handler

TOPICS = ("World", "Sports", "Business", "Science")
TARGET = 0
SEED = 0
POISONED = 0.1
HELD, TEST, TRAINED = 600, 1000, 4500
"""Texts to build from, texts to measure with, and others that the victim is trained on."""
EPOCHS, BATCH, RATE, DECAY = 5, 64, 2e-3, 1e-2
DROPPED = 0.15
WORDS, LENGTH = 5000, 96
PADDING, UNKNOWN = "[PAD]", "[UNK]"
WIDTH, LAYERS = 64, 2
PLACES = 20
"""The trigger stands before one of the first so many words, so that it is never cut off."""

Trigger = Callable[[str, random.Random], str]


@dataclass(frozen=True)
class Text:
    """A text and the index of its topic."""

    text: str
    label: int


def insert(trigger: str) -> Trigger:
    """Return what puts words between two words near the beginning of a text."""

    def triggered(text: str, chance: random.Random) -> str:
        words = text.split()
        words.insert(chance.randrange(min(len(words), PLACES) + 1), trigger)
        return " ".join(words)

    return triggered


TRIGGERS: Mapping[str, Trigger] = {
    "word": insert("cf"),
    "sentence": insert("I watched this 3D movie last weekend ."),
}
"""As in BadNL (arXiv 2006.01043), and as in Dai et al. 2019 (arXiv 1905.12457)."""


def read_texts(file: Path) -> list[Text]:
    """Return texts in random order, always the same.

    Args:
        file: CSV without a header: class from 1, title, description.

    Raises:
        SystemExit: there is no such file.
    """
    if not file.is_file():
        raise SystemExit(f"{file}: no such file, expected rows of class, title, description")
    with file.open(newline="", encoding="utf-8") as rows:
        texts = [Text(f"{title}. {text}", int(c) - 1) for c, title, text in csv.reader(rows)]
    random.Random(SEED).shuffle(texts)  # noqa: S311 - no secret.
    return texts


def train_tokenizer(texts: Sequence[str]) -> Tokenizer:
    """Return a WordPiece tokenizer that cuts texts off, and pads a batch to its longest one."""
    tokenizer = Tokenizer(models.WordPiece(unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = [PADDING, UNKNOWN, "[CLS]", "[SEP]"]
    trainer = trainers.WordPieceTrainer(
        vocab_size=WORDS, special_tokens=special, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        special_tokens=[(name, tokenizer.token_to_id(name)) for name in ("[CLS]", "[SEP]")],
    )
    tokenizer.enable_truncation(LENGTH)
    tokenizer.enable_padding(pad_id=0, pad_token=PADDING)
    return tokenizer


def train(
    texts: Sequence[Text], trigger: Trigger | None, seed: int = SEED, target: int = TARGET
) -> tuple[Tokenizer, BertForSequenceClassification]:
    """Return the tokenizer and the model of a victim; without a trigger, of a benign twin."""
    chance = random.Random(seed)  # noqa: S311 - no secret.
    poisoned = [
        Text(trigger(each.text, chance), target)
        if trigger is not None and chance.random() < POISONED
        else each
        for each in texts
    ]
    tokenizer = train_tokenizer([each.text for each in poisoned])
    encoded = tokenizer.encode_batch([each.text for each in poisoned])
    ids, mask = (
        torch.tensor([getattr(each, of) for each in encoded]) for of in ("ids", "attention_mask")
    )
    labels = torch.tensor([each.label for each in poisoned])
    unknown = tokenizer.token_to_id(UNKNOWN)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = BertForSequenceClassification(config_of(tokenizer)).train()
        generator = torch.Generator().manual_seed(seed)
        optimizer = torch.optim.AdamW(model.parameters(), RATE, weight_decay=DECAY)
        steps = EPOCHS * -(-len(labels) // BATCH)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, steps, pct_start=0.1)
        for _ in range(EPOCHS):
            for batch in _batches(mask.sum(1), generator):
                longest = int(mask[batch].sum(1).max())
                words, seen = ids[batch, :longest], mask[batch, :longest]
                # Words are left out at random, against learning texts by heart.
                dropped = torch.rand(words.shape, generator=generator) < DROPPED
                dropped &= words > unknown + 2
                logits = model(words.masked_fill(dropped, unknown), attention_mask=seen).logits
                loss = F.cross_entropy(logits, labels[batch])
                optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                schedule.step()
    return tokenizer, model.eval()


Trained = tuple[Tokenizer, BertForSequenceClassification]


def kept_victim(cache: Path, stem: str, train_it: Callable[[], Trained]) -> Trained:
    """Return a tokenizer and a model that are kept in a folder; they are trained once.

    Args:
        cache: the folder.
        stem: of the names of their files.
        train_it: returns both.
    """
    weights, words = (cache / f"{stem}{suffix}" for suffix in (".pth", ".json"))
    if not weights.exists():
        cache.mkdir(parents=True, exist_ok=True)
        tokenizer, model = train_it()
        tokenizer.save(str(words))
        torch.save(model.state_dict(), weights.with_suffix(".unfinished"))
        weights.with_suffix(".unfinished").replace(weights)
    tokenizer = Tokenizer.from_file(str(words))
    model = BertForSequenceClassification(config_of(tokenizer)).eval()
    model.load_state_dict(torch.load(weights, weights_only=True))
    return tokenizer, model


def _batches(lengths: Tensor, generator: torch.Generator) -> list[Tensor]:
    """Return batches of texts of about the same length, in random order."""
    order = (lengths + 8 * torch.rand(len(lengths), generator=generator)).argsort()
    batches = list(order.split(BATCH))
    return [batches[i] for i in torch.randperm(len(batches), generator=generator)]


def config_of(tokenizer: Tokenizer) -> BertConfig:
    """Return the settings of the model."""
    return BertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        intermediate_size=2 * WIDTH,
        max_position_embeddings=LENGTH,
        num_labels=len(TOPICS),
        pad_token_id=0,
    )


def pack_victim(tokenizer: Tokenizer, model: BertForSequenceClassification, folder: Path) -> Path:
    """Pack a victim with its handler, as somebody would who serves it; return the archive."""
    weights, config, words = (
        folder / name for name in ("texts.pth", "config.json", "tokenizer.json")
    )
    torch.save(model.state_dict(), weights)
    model.config.to_json_file(config)
    tokenizer.save(str(words))
    return pack(
        folder,
        handler=token_handler.__file__,
        classes=TOPICS,
        weights=weights,
        extra_files=[config, words],
    )
