from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from tests.directions.deployment.archive.test_any_archive import pack
from torchserve_fire.errors import FireError
from torchserve_fire_build.deployment.archive.trial_bodies import bodies_of_file, candidate_bodies

PLAIN = {"modelName": "net", "handler": "h.py"}


def sizes(archives: list[Path]) -> list[tuple[int, int]]:
    """Width and height of the images of each group."""
    return [Image.open(io.BytesIO(group[0].content)).size for group in candidate_bodies(archives)]


def test_a_bundle_of_either_says_what_is_taken(store: Path, tmp_path: Path) -> None:
    plain = pack(tmp_path / "net.mar", PLAIN)
    unknown = [(224, 224), (32, 32), (28, 28), (64, 64)]
    assert sizes([plain]) == unknown
    assert sizes([plain, store / "tiny-1.0.mar"]) == [(8, 8), *unknown]
    # Without a bundle, its configuration says it.
    assert sizes([store / "plain-1.0.mar", plain]) == [(8, 8), *unknown]


def test_an_example_comes_first_in_each_way_to_declare_it(tmp_path: Path) -> None:
    model = {**PLAIN, "configFile": "c.yaml"}
    config = "handler:\n  example: e.txt\n  image_size: big\n"
    archive = pack(tmp_path / "net.mar", model, c_yaml=config, e_txt="good film")
    first, second, *_ = candidate_bodies([pack(tmp_path / "other.mar", PLAIN), archive])
    assert [(b.content, b.content_type) for b in (*first, *second)] == [
        (b"good film", "application/octet-stream"),
        (b"good film", "text/plain"),
    ]


@pytest.mark.parametrize("config", ["handler: [1", "- 1", "handler: h", ""])
def test_a_configuration_may_hold_anything(tmp_path: Path, config: str) -> None:
    archive = pack(tmp_path / "net.mar", {**PLAIN, "configFile": "c.yaml"}, c_yaml=config)
    assert len(candidate_bodies([archive])) == 4


def test_a_file_as_a_body(tmp_path: Path) -> None:
    path = tmp_path / "body.json"
    path.write_text("{}")
    kinds = [group[0].content_type for group in bodies_of_file(path)]
    assert kinds == ["application/json", "application/octet-stream"]
    with pytest.raises(FireError, match=r"none\.png: cannot be read: No such file"):
        bodies_of_file(tmp_path / "none.png")
