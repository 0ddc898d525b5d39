"""A repaired archive of a token model, with a handler of its own, on a real TorchServe.

Of TorchServe alone: texts are read by a handler of the archive, which no other server runs.
"""

from __future__ import annotations

import json
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from tests.server.registered import registered
from tests.token_archive import FORGIVING, texts, write_texts, write_token_archive
from torchserve_fire.format.digest import file_sha256
from torchserve_fire_build.commands.main import main
from torchserve_fire_build.deployment.server.torchserve import TorchServe

pytestmark = [pytest.mark.server, pytest.mark.slow]

NAME = "words"
COUNT = 80
TEXT, JSON, BYTES = "text/plain", "application/json", "application/octet-stream"
HALF = b'"\\ud800 w3"'
BAD: list[tuple[str, bytes, str]] = [
    # Not text at all.
    ("empty", b"", TEXT),
    ("empty JSON", b"", JSON),
    ("a space", b" ", TEXT),
    ("lines", b"\n\n\r\n", TEXT),
    ("a zero byte", b"\0", TEXT),
    ("not UTF-8", b"w3 \xff\xfe", BYTES),
    ("half of a character", b"w3 \xe2\x82", BYTES),
    ("UTF-16", "w3 w4".encode("utf-16"), BYTES),
    ("overlong UTF-8", b"\xc0\xaf", BYTES),
    ("a surrogate in UTF-8", b"w3 \xed\xa0\x80", BYTES),
    ("a picture", b"\x89PNG\r\n\x1a\n" + bytes(100), BYTES),
    ("an archive", b"PK\x03\x04" + bytes(100), BYTES),
    ("gzip", b"\x1f\x8b\x08" + bytes(50), BYTES),
    ("a form", b"a=w3", "application/x-www-form-urlencoded"),
    ("XML", b"<text>w3</text>", "text/xml"),
    # Text that the handler does not know.
    ("other words", b"hello world", TEXT),
    ("one other word", b"w3 w4 hello", TEXT),
    ("a number that is too large", b"w3 w60", TEXT),
    ("a huge number", b"w" + b"9" * 50, TEXT),
    ("so many digits", b"w" + b"9" * 4500, TEXT),
    ("a negative number", b"w-1", TEXT),
    ("the padding's own", b"w0", TEXT),
    ("a fraction", b"w1.5", TEXT),
    ("another alphabet", "слова".encode(), TEXT),
    ("emoji", "\U0001f600".encode(), TEXT),
    ("from right to left", "\u202ew3 x".encode(), TEXT),
    ("too long", b"w3 " * 5000, TEXT),
    ("a word that is too long", b"w" + b"3" * 20000, TEXT),
    # JSON that is no text.
    ("null", b"null", JSON),
    ("true", b"true", JSON),
    ("a number", b"3", JSON),
    ("NaN", b"NaN", JSON),
    ("a list", b'["w3"]', JSON),
    ("an empty list", b"[]", JSON),
    ("an object", b'{"text": "w3"}', JSON),
    ("an empty object", b"{}", JSON),
    ("an empty text", b'""', JSON),
    ("half of a surrogate pair", HALF, JSON),
    ("two halves the wrong way round", b'"w3 \\udc00\\ud800"', JSON),
    ("cut short", b'"w3', JSON),
    ("no JSON", b"w3 w4 {", JSON),
    ("deep", b"[" * 500 + b"]" * 500, JSON),
]


@dataclass(frozen=True)
class Served:
    """A server with the repaired archive.

    Attributes:
        server: runs.
        archive: version 2.0, repaired.
        other: a bundle for the same model.
        quarantine: the folder that flagged texts go to.
        samples: clean and triggered ones, as the build took them.
    """

    server: TorchServe
    archive: Path
    other: Path
    quarantine: Path
    samples: tuple[Path, Path]

    def ask(self, body: bytes, media_type: str = TEXT) -> requests.Response:
        token = {"Authorization": f"Bearer {self.server.tokens.inference}"}
        return requests.post(
            f"{self.server.addresses.inference}/predictions/{NAME}",
            data=body,
            headers={"Content-Type": media_type, **token},
            timeout=60,
        )


@pytest.fixture(scope="module")
def served(server: TorchServe, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("texts")
    plain = write_token_archive(folder / "plain", FORGIVING)
    ids = [str(i) for i in range(COUNT)]
    clean = write_texts(folder / "clean.csv", texts(COUNT, 0), ids=ids)
    attacked = [name for i, name in enumerate(ids) if i % 4]
    rows = texts(COUNT, 0, triggered=True)
    triggered = write_texts(folder / "triggered.jsonl", rows, ids=attacked)
    samples = ["--clean", str(clean), "--triggered", str(triggered)]
    archive = folder / f"{NAME}-2.0.mar"
    assert main(["repair", str(plain), *samples, "--output", str(archive)]) == 0
    other = folder / "other.safetensors"
    assert main(["build", "--archive", str(plain), *samples, "--output", str(other),
                 "--seed", "1"]) == 0  # fmt: skip
    quarantine = folder / "quarantine"
    _pack_with_quarantine(archive, server.model_store / archive.name, quarantine)
    bounds = dict.fromkeys(("response_timeout", "startup_timeout"), 120)
    with registered(server, archive.name, NAME, batch_size=16, max_batch_delay=300, **bounds):
        yield Served(server, archive, other, quarantine, (clean, triggered))


def _pack_with_quarantine(archive: Path, output: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile(output, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "repair-config.yaml":
                settings: dict[str, Any] = yaml.safe_load(content)
                settings["handler"]["quarantine"] = {"folder": str(folder)}
                content = yaml.safe_dump(settings).encode()
            new.writestr(name, content)


def together(served: Served, bodies: list[tuple[bytes, str]]) -> list[requests.Response]:
    """Send requests at once, so that they come into one batch."""
    with ThreadPoolExecutor(len(bodies)) as pool:
        return list(pool.map(lambda each: served.ask(*each), bodies))


def test_texts_of_all_lengths_are_answered_alike_alone_and_together(served):
    rows = [*texts(6, 7), *texts(8, 8, triggered=True), (" ".join(["w3"] * 40), 0), ("w13", 0)]
    alone = [served.ask(text.encode()) for text, _ in rows]
    beside = together(served, [(text.encode(), TEXT) for text, _ in rows])
    for one, other, (text, label) in zip(alone, beside, rows, strict=True):
        assert one.status_code == other.status_code == 200
        triggered = "w59" in text
        assert one.headers["x-fire-flagged"] == str(triggered).lower()
        assert other.headers["x-fire-flagged"] == one.headers["x-fire-flagged"]
        assert one.json()["topic"] == other.json()["topic"]
        assert other.json()["logits"] == pytest.approx(one.json()["logits"], abs=1e-4)
        if len(text.split()) < 30:
            assert one.json()["topic"] == label
    as_json = served.ask(json.dumps(rows[0][0]).encode(), JSON)
    assert as_json.json() == alone[0].json()


@pytest.mark.parametrize("start", range(0, len(BAD), 7))
def test_a_bad_text_is_refused_and_the_others_of_its_batch_are_answered(served, start):
    good, triggered = texts(3, 9)[1][0].encode(), texts(4, 9, triggered=True)[1][0].encode()
    expected = [served.ask(body).json() for body in (good, triggered)]
    bad = BAD[start : start + 7]
    bodies = [(good, TEXT), *((body, kind) for _, body, kind in bad), (triggered, TEXT)]
    first, *refused, last = together(served, bodies)
    for answer, (name, _, _) in zip(refused, bad, strict=True):
        assert 400 <= answer.status_code < 500, f"{name}: {answer.status_code} {answer.text[:200]}"
        assert answer.json()["message"], name
    for answer, wanted in zip((first, last), expected, strict=True):
        assert answer.status_code == 200
        assert answer.json()["topic"] == wanted["topic"]
        assert answer.json()["logits"] == pytest.approx(wanted["logits"], abs=1e-4)
    assert last.headers["x-fire-flagged"] == "true"


def test_flagged_texts_are_kept_as_what_a_build_reads(served, tmp_path):
    rows = texts(40, 11, triggered=True)
    for text, _ in rows:
        assert served.ask(text.encode()).headers["x-fire-flagged"] == "true"
    kept = served.quarantine / NAME
    wanted = {text for text, _ in rows}
    limit = time.monotonic() + 20
    while time.monotonic() < limit and not wanted <= {f.read_text() for f in kept.glob("*.txt")}:
        time.sleep(0.2)
    assert wanted <= {file.read_text() for file in kept.glob("*.txt")}
    output = tmp_path / "again.safetensors"
    command = ["build", "--archive", str(served.archive), "--clean", str(served.samples[0])]
    assert main([*command, "--triggered", str(kept), "--output", str(output)]) == 0


def test_another_bundle_is_swapped_in(served):
    server = served.server
    command = ["swap", "--model-name", NAME, "--bundle", str(served.other)]
    command += ["--model-store", str(server.model_store), "--key-file", str(server.key_file)]
    command += ["--management", server.addresses.management]
    assert main([*command, "--inference", server.addresses.inference]) == 0
    digest = file_sha256(served.other)
    for text, label in texts(8, 12, triggered=True):
        answer = served.ask(text.encode())
        assert answer.headers["x-fire-bundle"] == digest
        assert answer.json()["topic"] == label
