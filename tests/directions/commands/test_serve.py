"""The command line of `serve`: which flags go with which engine."""

from __future__ import annotations

import pytest

from torchserve_fire_build.commands.main import main


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--engine", "kserve"], "--archive: missing, expected with --engine kserve"),
        (["--model-store", "."], ""),
        ([], "--model-store: missing, expected with --engine torchserve"),
        (["--archive", "."], "--archive: goes with --engine kserve only"),
        (["--engine", "kserve", "--archive", ".", "--models", "a"], "--models: goes with --engine"),
        (["--engine", "triton"], "--engine triton: expected one of"),
        (["--engine", "kserve", "--archive", "nowhere.mar"], "nowhere.mar: no such file"),
    ],
)
def test_what_goes_together(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    said: str,
) -> None:
    monkeypatch.setattr("torchserve_fire_build.commands.serve.run", lambda _: 0)
    assert main(["serve", *words]) == (64 if said else 0)
    assert said in capsys.readouterr().err
