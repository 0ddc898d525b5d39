"""What was kept makes a bundle, which is compared with the old one on what neither was built of."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.directions.backdoored import write_images
from tests.directions.building.test_from_quarantine import noisy
from tests.directions.review.first_bundle import build_first_bundle
from tests.tiny import TinyFiles
from torchserve_fire.errors import FireError
from torchserve_fire.format.bundle_file import load_bundle
from torchserve_fire_build.common.errors import SamplesError
from torchserve_fire_build.review import refine
from torchserve_fire_build.review.job import JUDGE, REFINE, Job, read_job, run_job
from torchserve_fire_build.source.source_files import SourceFiles


@pytest.fixture
def model(tiny: TinyFiles, tmp_path: Path) -> SourceFiles:
    (tmp_path / "model").mkdir()
    config = tiny.config(tmp_path / "model")
    config.with_name("index_to_name.json").write_text(tiny.names.read_text())
    return SourceFiles(None, tiny.model_file, tiny.serialized_file, config, "cpu")


def flagged(folder: Path, triggered: int, clean: int = 0) -> list[str]:
    folder.mkdir()
    names = [f"{seed:03}.png" for seed in range(triggered + clean)]
    for seed, name in enumerate(names):
        (folder / name).write_bytes(noisy(seed, triggered=seed < triggered))
    return names


def done(job: Job, folder: Path) -> dict[str, object]:
    """Do a job as its own process does, which reads it from a file."""
    job.write(folder / "job.json")
    assert read_job(folder / "job.json") == job
    run_job(job)
    result: dict[str, object] = json.loads(job.result.read_text())
    return result


def test_files_are_judged_and_grouped(tiny: TinyFiles, model: SourceFiles, tmp_path: Path) -> None:
    names = flagged(tmp_path / "q", 20, 20)
    (tmp_path / "q" / "x.png").write_bytes(b"no image")
    names.append("x.png")
    job = Job(JUDGE, tmp_path / "q", names, tmp_path / "r.json", model, tiny.bundle)
    result = done(job, tmp_path)
    files = result["files"]
    assert sorted(files) == names[:-1]
    assert "x.png" in result["unreadable"]["x.png"]
    for seed, name in enumerate(names[:-1]):
        said = files[name]
        quadrant = ("north-west", "north-east", "south-west", "south-east")[seed % 4]
        assert said["after"] == f"{seed % 4} {quadrant}"
        assert said["before"] == ("0 north-west" if seed < 20 else said["after"])
        assert said["flagged"] == (seed < 20)
        assert (said["score"] > said["threshold"]) == said["flagged"]
    # Clean samples of other classes are in no group with triggered ones.
    triggered = {files[name]["group"] for name in names[:20]}
    others = {
        files[name]["group"] for seed, name in enumerate(names[:-1]) if seed >= 20 and seed % 4
    }
    assert not triggered & others


def test_kept_files_make_a_bundle_that_is_compared(
    tiny: TinyFiles, model: SourceFiles, tmp_path: Path
) -> None:
    assert model.config_file is not None
    first = build_first_bundle(tiny, model.config_file, tmp_path / "first")
    names = flagged(tmp_path / "kept", 60)
    clean = write_images(tmp_path / "clean", [k % 4 for k in range(112)], seed=5)
    new = tmp_path / "new.safetensors"
    result = done(
        Job(REFINE, tmp_path / "kept", names, tmp_path / "r.json", model, first, clean, new),
        tmp_path,
    )
    assert (result["old"], result["new"]) == (
        load_bundle(first).digest,
        load_bundle(new).digest,
    )
    assert result["counts"] == {
        "kept": 60,
        "built_from": 45,
        "held_out_kept": 15,
        "held_out_clean": 28,
    }
    shares = {row["name"]: (row["old"], row["new"]) for row in result["rows"]}
    assert shares["kept files that are flagged"] == (1, 1)
    assert shares["clean accuracy"] == (1, 1)
    assert not result["worse"]


def test_too_few_kept_files_are_refused_and_nothing_is_written(
    tiny: TinyFiles, model: SourceFiles, tmp_path: Path
) -> None:
    names = flagged(tmp_path / "kept", 15)
    clean = write_images(tmp_path / "clean", [k % 4 for k in range(112)], seed=5)
    new = tmp_path / "new.safetensors"
    job = Job(REFINE, tmp_path / "kept", names, tmp_path / "r.json", model, tiny.bundle, clean, new)
    with pytest.raises(SamplesError, match=r"15 kept files .* expected at least 16"):
        run_job(job)
    assert not new.exists()
    assert not job.result.exists()


def test_a_bundle_for_another_model_is_refused(
    tiny: TinyFiles, model: SourceFiles, tmp_path: Path
) -> None:
    names = flagged(tmp_path / "q", 8)
    job = Job(JUDGE, tmp_path / "q", names, tmp_path / "r.json", model, tiny.foreign_bundle)
    with pytest.raises(FireError, match="weights"):
        run_job(job)


@pytest.mark.parametrize(
    ("old", "new", "count", "change"),
    [
        (0.5, 1.0, 40, "better"),
        (1.0, 0.5, 40, "worse"),
        (0.5, 0.6, 40, "same"),
        (0.5, 1.0, 3, "same"),
    ],
)
def test_a_figure_is_better_or_worse_only_beyond_chance(
    old: float, new: float, count: int, change: str
) -> None:
    # Wilson: 20 of 40 is 35 to 65 %, 40 of 40 is 91 to 100 %, 24 of 40 is 45 to 74 %.
    row = refine._row("share", old, new, count, more_is_better=True)
    assert row is not None
    assert row["change"] == change
    turned = refine._row("share", old, new, count, more_is_better=False)
    assert turned is not None
    assert turned["change"] == {"better": "worse", "worse": "better", "same": "same"}[change]
