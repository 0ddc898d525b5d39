"""What `torchserve-fire status` says beneath its table."""

from __future__ import annotations

import pytest

from torchserve_fire_build.commands.main import main
from torchserve_fire_build.deployment.client import served_versions
from torchserve_fire_build.deployment.client.served_versions import ServedVersion


def test_what_a_dash_means_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def served(name: str, answered: int, *, plain: bool = False) -> ServedVersion:
        return ServedVersion(
            model=name,
            version="1.0",
            plain=plain,
            default=True,
            workers=2,
            min_workers=2,
            answered=answered,
            mode="repair" if answered else None,
            bundle=None,
            bundles={},
            refused={},
            judged=0,
            flagged=0,
            repaired=0,
            rejected=0,
            unrepaired=0,
            bad_inputs={},
            drift={},
        )

    monkeypatch.setattr(
        served_versions,
        "served_versions",
        lambda _: [served("ours", 2), served("plain", 0, plain=True), served("busy", 0)],
    )
    assert main(["status", "--management", "http://127.0.0.1:9", "--token", "x"]) == 0
    lines = capsys.readouterr().out.splitlines()[4:]
    assert lines == [
        "drift: '-' before a worker has 500 scores",
        "plain 1.0: plain archive, no repair",
        "busy 1.0: no repair, or its workers are busy",
    ]
