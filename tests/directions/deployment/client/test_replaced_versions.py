from __future__ import annotations

from pathlib import Path

from torchserve_fire_build.deployment.client.replaced_versions import read_replaced, write_replaced


def test_what_is_being_replaced_is_kept_until_nothing_is(tmp_path: Path) -> None:
    assert read_replaced(tmp_path, "net") == []
    write_replaced(tmp_path, "net", ["1.0", "1.1"])
    assert read_replaced(tmp_path, "net") == ["1.0", "1.1"]
    assert read_replaced(tmp_path, "other") == []
    # TorchServe passes over hidden files.
    (path,) = tmp_path.iterdir()
    assert path.name.startswith(".")
    path.write_text("{")
    assert read_replaced(tmp_path, "net") == []
    write_replaced(tmp_path, "net", [])
    assert list(tmp_path.iterdir()) == []
