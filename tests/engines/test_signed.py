"""On every engine, a model that is served only where a trusted key has signed its archive."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.keys import KEY, OTHER_KEY, PUBLIC
from tests.tiny import TinyFiles, image
from torchserve_fire.format.bundle_file import load_bundle
from torchserve_fire.format.bundle_signature import signature_path
from torchserve_fire_build.signing.sign_bundle import sign_bundle

from .archive import make_archive
from .conftest import NewEngine, Serving
from .engine import Engine, Sent, wait_until

NAME = "trusting"


@pytest.fixture(scope="module")
def archive(tiny: TinyFiles, tmp_path_factory: pytest.TempPathFactory, engine_name: str) -> Path:
    # Each engine has one of its own: bundles that are swapped in stay in its folder.
    folder = tmp_path_factory.mktemp("trusting")
    return make_archive(tiny, folder, name=NAME, trusted_keys=[PUBLIC], signing_key=KEY)


@pytest.fixture
def engine(serving: Serving, archive: Path) -> Iterator[Engine]:
    with serving(archive, NAME, archive.parents[1]) as engine:
        yield engine


def digest_served(engine: Engine) -> str:
    answer = engine.ask(Sent(image(3, triggered=True)))
    assert answer.status == 200, answer.body
    assert answer.headers["x-fire-repaired"] == "true"
    return answer.headers["x-fire-bundle"]


def test_it_takes_bundles_by_a_trusted_key_alone(
    engine: Engine, tiny: TinyFiles, tmp_path: Path
) -> None:
    first, other = (load_bundle(file).digest for file in (tiny.bundle, tiny.other_bundle))
    assert digest_served(engine) == first

    def refused() -> bool:
        served = digest_served(engine)
        assert served == first
        return any(f"{bundle.name}.sig" in each.read_text() for each in engine.logs())

    bundle = Path(shutil.copy(tiny.other_bundle, tmp_path / "unsigned.safetensors"))
    engine.swap(bundle)
    wait_until(refused)
    for name, key in (("foreign", OTHER_KEY), ("signed", KEY)):
        bundle = Path(shutil.copy(tiny.other_bundle, tmp_path / f"{name}.safetensors"))
        sign_bundle(bundle, key)
        # Before the bundle: without it, that would be refused.
        shutil.copy(signature_path(bundle), engine.folder / "bundles")
        engine.swap(bundle)
        wait_until(refused if key is OTHER_KEY else lambda: digest_served(engine) == other)


def test_a_tampered_archive_is_refused_each_time(
    new_engine: NewEngine, archive: Path, tmp_path: Path
) -> None:
    tampered = tmp_path / "tampered.mar"
    shutil.copy(archive, tampered)
    with zipfile.ZipFile(tampered, "a") as packed:
        packed.writestr("captum.py", "")
    for _ in range(2):
        engine = new_engine(tmp_path)
        try:
            said = engine.refuses(tampered, NAME)
        finally:
            engine.stop()
        assert "'captum.py': was added to the archive after it was signed" in said
