import os
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.handler.bundles import content_of, sha256, small_bundle
from torchserve_fire.errors import BundleError, FireError
from torchserve_fire.format.bundle import Detection, Layer
from torchserve_fire.format.bundle_file import load_bundle, save_bundle
from torchserve_fire.format.correction_forms import Shift


def test_what_is_saved_is_what_is_loaded(tmp_path):
    path = tmp_path / "b.safetensors"
    saved = save_bundle(small_bundle(), path)
    assert content_of(saved) == content_of(small_bundle())
    assert content_of(load_bundle(path)) == content_of(saved)
    assert saved.digest == load_bundle(path).digest == sha256(path.read_bytes())
    assert [p.name for p in tmp_path.iterdir()] == ["b.safetensors"]


def test_others_can_read_the_file(tmp_path):
    save_bundle(small_bundle(), tmp_path / "b.safetensors")
    assert stat.S_IMODE((tmp_path / "b.safetensors").stat().st_mode) == 0o644


def test_the_digest_of_the_bundle_given_does_not_matter(tmp_path):
    first = save_bundle(small_bundle(), tmp_path / "1.safetensors")
    again = save_bundle(first, tmp_path / "another name.safetensors")
    assert first.digest == again.digest


@pytest.mark.slow
def test_the_same_bundle_gives_the_same_bytes_in_every_process(tmp_path):
    program = (
        "import sys; from torchserve_fire.format.bundle_file import save_bundle; "
        "from tests.handler.bundles import small_bundle; "
        "print(save_bundle(small_bundle(), sys.argv[1]).digest)"
    )
    root = Path(__file__).parents[3]
    digests = {
        subprocess.run(
            [sys.executable, "-c", program, str(tmp_path / f"{seed}.safetensors")],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=root,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("0", "1", "2")
    }
    assert len(digests) == 1
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1


def test_the_order_of_evidence_does_not_change_the_bytes(tmp_path):
    bundle = small_bundle()
    turned = replace(bundle, evidence=dict(reversed(bundle.evidence.items())))
    first = save_bundle(bundle, tmp_path / "1.safetensors")
    assert first.digest == save_bundle(turned, tmp_path / "2.safetensors").digest


def test_one_layer_may_detect_and_repair_with_the_same_tensor(tmp_path):
    direction = torch.tensor([1.0, 0.0])
    layer = Layer("a", (2,), Detection(direction, 1.0), Shift(direction, 1.0))
    saved = save_bundle(replace(small_bundle(), layers=(layer,)), tmp_path / "b.safetensors")
    assert saved.layers[0].detection is not None
    assert saved.layers[0].role == "both"
    assert torch.equal(saved.layers[0].detection.weight, direction)


def test_a_direction_may_be_a_view_of_a_larger_tensor(tmp_path):
    direction = torch.arange(12.0).view(3, 4).t()[:2]
    layer = Layer("a", (2, 3), correction=Shift(direction, 1.0))
    saved = save_bundle(replace(small_bundle(), layers=(layer,)), tmp_path / "b.safetensors")
    assert torch.equal(saved.layers[0].correction.direction, direction)


def test_float16_directions_are_stored_as_such_and_read_as_float32(tmp_path):
    direction = torch.tensor([0.5, -2.0], dtype=torch.float16)
    layer = Layer("a", (2,), correction=Shift(direction, 1.0))
    saved = save_bundle(replace(small_bundle(), layers=(layer,)), tmp_path / "b.safetensors")
    assert saved.layers[0].correction.direction.tolist() == [0.5, -2.0]
    assert saved.layers[0].correction.direction.dtype == torch.float32
    assert b'"F16"' in (tmp_path / "b.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"layers": ()}, "layers"),
        ({"weights_sha256": "?"}, "weights: file_sha256"),
        ({"held_out": {"accuracy": float("nan")}}, "cannot be stored"),
        ({"evidence": {"count": np.int64(3)}}, "cannot be stored"),
        ({"evidence": {"tensor": torch.zeros(1)}}, "cannot be stored"),
        (
            {"layers": (Layer("a", (2,), correction=Shift(torch.zeros(2), 1.0)),)},
            "zero",
        ),
        (
            {"layers": (Layer("a", (2,), correction=Shift(torch.ones(3), 1.0)),)},
            "expected (2,)",
        ),
        (
            {"layers": (Layer("a", (2,), correction=Shift(torch.ones(2).double(), 1.0)),)},
            "float64",
        ),
    ],
)
def test_what_would_not_load_is_not_saved_and_loses_nothing(tmp_path, changes, named):
    path = tmp_path / "b.safetensors"
    save_bundle(small_bundle(), path)
    before = path.read_bytes()
    with pytest.raises(BundleError) as caught:
        save_bundle(replace(small_bundle(), **changes), path)
    assert str(caught.value).startswith("b.safetensors: ")
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["b.safetensors"]


def test_a_missing_folder(tmp_path):
    with pytest.raises(FireError, match=r"no/b\.safetensors: .* no folder .*/no$"):
        save_bundle(small_bundle(), tmp_path / "no" / "b.safetensors")


def test_a_folder_in_the_place_of_the_file(tmp_path):
    with pytest.raises(FireError, match="it is a folder"):
        save_bundle(small_bundle(), tmp_path)


def test_a_file_in_the_place_of_the_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FireError, match="no folder "):
        save_bundle(small_bundle(), tmp_path / "file" / "b.safetensors")


def test_a_name_that_is_too_long(tmp_path):
    with pytest.raises(FireError, match="the file name is too long"):
        save_bundle(small_bundle(), tmp_path / ("b" * 300))
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_is_not_writable(tmp_path):
    tmp_path.chmod(0o555)
    try:
        with pytest.raises(FireError, match=r"takes no file \(Permission denied\)"):
            save_bundle(small_bundle(), tmp_path / "b.safetensors")
    finally:
        tmp_path.chmod(0o755)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc")
def test_a_folder_in_which_nobody_can_write():
    with pytest.raises(FireError, match="cannot be written"):
        save_bundle(small_bundle(), "/proc/b.safetensors")


def test_a_link_is_replaced_and_what_it_led_to_is_kept(tmp_path):
    old = tmp_path / "old.safetensors"
    old.write_text("kept")
    (tmp_path / "link.safetensors").symlink_to(old)
    save_bundle(small_bundle(), tmp_path / "link.safetensors")
    assert old.read_text() == "kept"
    assert not (tmp_path / "link.safetensors").is_symlink()
