from __future__ import annotations

from pathlib import Path

import pytest

from torchserve_fire.errors import FireError
from torchserve_fire_build.deployment.archive.load_as_worker import load_as_worker
from torchserve_fire_build.signing.signing_key import KEY_VARIABLE

SCRIPT = """
import json, os, sys
with open(sys.argv[2], "w") as file:
    json.dump({"error": " ".join(sorted(os.environ))}, file)
"""


def test_an_archive_that_is_tried_does_not_get_the_key_that_signs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    monkeypatch.setattr("torchserve_fire_build.deployment.archive.load_as_worker.SCRIPT", script)
    monkeypatch.setenv(KEY_VARIABLE, "private")
    with pytest.raises(FireError, match="PYTHONPATH") as caught:
        load_as_worker(tmp_path, "m")
    assert KEY_VARIABLE not in str(caught.value)
