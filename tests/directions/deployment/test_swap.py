"""What a swap refuses before it asks the server for anything but how things stand."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from directions.deployment.management import Management
from directions.deployment.swap import Target, swap_bundle
from handler.errors import FireError
from tests.tiny import TinyFiles


def target(store: Path) -> Target:
    """A server that has version 1.0 of "tiny"."""
    version = SimpleNamespace(name="tiny", version="1.0", archive="tiny-1.0.mar")
    management = SimpleNamespace(describe=lambda name: version)
    return Target(cast(Management, management), "http://127.0.0.1:9", None, store)


def test_a_store_that_takes_no_archive_is_told_before_the_work(
    store: Path, tiny: TinyFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.NamedTemporaryFile", denied)
    monkeypatch.setattr("directions.deployment.swap.load_as_worker", None)
    with pytest.raises(FireError, match=r"tiny-1.1.mar: .* takes no file \(Perm"):
        swap_bundle(target(store), "tiny", tiny.other_bundle)
