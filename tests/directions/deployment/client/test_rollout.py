"""What a rollout says that is cut off, or that has to wait."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from torchserve_fire.errors import FireError
from torchserve_fire_build.deployment.client import drain as drain_module
from torchserve_fire_build.deployment.client import rollout
from torchserve_fire_build.deployment.client.drain import drain
from torchserve_fire_build.deployment.client.management import Management, ModelVersion
from torchserve_fire_build.deployment.client.replaced_versions import write_replaced
from torchserve_fire_build.deployment.client.rollout import (
    Placed,
    Target,
    put_into_service,
    retire_replaced,
)

OLD = ModelVersion("net", "1.0", "net-1.0.mar", 2, 2, 1, 1000, 3, 60, 0, {1: True, 2: True})
NEW = ModelVersion("net", "2.0", "net-2.0.mar", 2, 2, 1, 1000, 3, 60, 0, {3: True, 4: True})


def target(store: Path, **management: Any) -> Target:
    return Target(
        cast(Management, SimpleNamespace(**management)), "http://127.0.0.1:9", None, store
    )


def cut_off(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


def test_cut_off_while_the_old_version_answers_it_says_what_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollout, "drain", cut_off)
    write_replaced(tmp_path, "net", ["1.0"])
    server = target(tmp_path, describe=lambda name: NEW, describe_all=lambda name: [OLD, NEW])
    with pytest.raises(KeyboardInterrupt, match=r"^the new version serves, but net 1.0 is still"):
        retire_replaced(server, "net", lambda line: None)


@pytest.mark.parametrize(("error", "said"), [(KeyboardInterrupt, ""), (FireError, "no answer; ")])
def test_cut_off_before_it_says_that_nothing_was_changed(
    tmp_path: Path, error: type[BaseException], said: str
) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise error(*([said[:-2]] * bool(said)))

    server = target(
        tmp_path, describe=lambda *_: OLD, describe_all=lambda name: [OLD], register=fails
    )
    new = Placed("2.0", tmp_path / "net-2.0.mar", is_new=True)
    with pytest.raises(error, match=rf"^{said}nothing was changed, net 1.0 serves on$"):
        put_into_service(server, "net", OLD, new, [], [])


def test_who_waits_for_the_old_version_is_told_how_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waited: list[float] = []
    monkeypatch.setattr(drain_module.time, "sleep", waited.append)
    management = SimpleNamespace(describe=lambda *_, **__: OLD, answers_in_turn=lambda *_: None)
    lines: list[str] = []
    drain(cast(Management, management), OLD, 60, lines.append)
    # The response timeout, the batch delay, and one second to spare.
    assert waited[-1] == 3 + 1 + 1
    (line,) = lines
    assert line.endswith("waiting its response timeout, 5 s, after which no request is left")
