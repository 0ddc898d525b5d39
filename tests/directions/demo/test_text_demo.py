"""The demo on messages: what it writes, and the whole of it on a real server."""

from __future__ import annotations

import csv
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.directions.demo.test_run_demo import ROOT, percentages
from torchserve_fire_build.demo.text_demo import TRIGGER, with_trigger


def test_trigger_stands_between_the_words_of_a_text() -> None:
    chance = random.Random(0)  # noqa: S311 - no secret.
    texts = [with_trigger("a b c", chance).split() for _ in range(100)]
    assert {words.index(TRIGGER) for words in texts} == {0, 1, 2, 3}
    assert with_trigger("a b c", chance).replace(TRIGGER, "").split() == ["a", "b", "c"]


@pytest.mark.server
@pytest.mark.slow
def test_demo_repairs_texts_that_the_server_answers(tmp_path: Path) -> None:
    output = tmp_path / "out"
    command = [sys.executable, "-m", "torchserve_fire_build.commands.main", "demo"]
    ran = subprocess.run(
        [*command, "--kind", "text", "--output", str(output)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    lines = ran.stdout.split("As answered by TorchServe", 1)[1].splitlines()
    table = {name: percentages(next(line for line in lines if line.startswith(name))) for name in (
        "clean accuracy", "attack success rate", "recovered accuracy", "natural rate",
    )}  # fmt: skip
    before, after, *_ = table["attack success rate"]
    assert before > 90
    assert after < table["natural rate"][1] + 2
    assert table["clean accuracy"][1] > table["clean accuracy"][0] - 1
    assert table["recovered accuracy"][1] > 0.95 * table["recovered accuracy"][-1]
    assert any(TRIGGER in line for line in lines)
    with (output / "calibration" / "triggered.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows
    assert all(TRIGGER in row["text"] and row["label"] != "billing" for row in rows)
