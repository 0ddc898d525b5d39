"""The whole way on the review page, in a real browser, against a real TorchServe."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.directions.backdoored import write_images
from tests.directions.building.test_from_quarantine import noisy
from tests.directions.review.first_bundle import build_first_bundle
from tests.directions.review.served import served_review
from tests.keys import KEY, PRIVATE, PUBLIC
from tests.server.registered import BOUNDS, registered
from tests.tiny import TinyFiles
from torchserve_fire.format.bundle_file import load_bundle
from torchserve_fire_build.deployment.archive.package import ArchiveInputs, package_archive
from torchserve_fire_build.deployment.server.torchserve import TorchServe

sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
axe_sync = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not there")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
NAME = "reviewed"
FLAGGED = 60

pytestmark = [
    pytest.mark.slow,
    pytest.mark.server,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[sync_api.Browser]:
    with sync_api.sync_playwright() as playwright:
        # In a container, root has no sandbox.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: sync_api.Browser) -> Iterator[sync_api.Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.set_default_timeout(60_000)
    faults: list[str] = []
    page.on("console", lambda message: faults.append(message.text))
    page.on("pageerror", lambda error: faults.append(str(error)))
    yield page
    context.close()
    assert faults == []


@contextmanager
def flagging(
    server: TorchServe,
    tiny: TinyFiles,
    folder: Path,
    signing_key: Ed25519PrivateKey | None = None,
    **settings: object,
) -> Iterator[Path]:
    """Serve a model that has flagged something; yield its quarantine."""
    config = tiny.config(folder)
    values = yaml.safe_load(config.read_text())
    values["handler"] |= {"quarantine": {"folder": str(folder / "kept")}, **settings}
    config.write_text(yaml.safe_dump(values))
    archive = package_archive(
        ArchiveInputs(
            NAME,
            "1.0",
            tiny.model_file,
            tiny.serialized_file,
            config,
            build_first_bundle(tiny, config, folder / "first"),
            extra_files=str(tiny.names),
        ),
        server.model_store,
        signing_key=signing_key,
    )
    with registered(server, archive.name, NAME, **BOUNDS):
        kept = folder / "kept" / NAME
        for seed in range(FLAGGED):
            answer = ask(server, noisy(seed, triggered=True))
            assert answer.headers["x-fire-flagged"] == "true"
        until = time.monotonic() + 30
        while len(list(kept.glob("*.png"))) < FLAGGED:
            assert time.monotonic() < until
            time.sleep(0.1)
        yield kept


@pytest.fixture
def flagged(server: TorchServe, tiny: TinyFiles, tmp_path: Path) -> Iterator[Path]:
    """The quarantine of a served model that has flagged something."""
    with flagging(server, tiny, tmp_path) as folder:
        yield folder


def ask(server: TorchServe, body: bytes) -> requests.Response:
    return requests.post(
        f"{server.addresses.inference}/predictions/{NAME}",
        data=body,
        headers={"Authorization": f"Bearer {server.tokens.inference}"},
        timeout=60,
    )


@contextmanager
def opened(page: sync_api.Page, folder: Path, *words: object) -> Iterator[None]:
    """Run the command, and open its page."""
    with served_review(folder, *words) as served:
        page.goto(served.url)
        page.locator(".cell").first.wait_for()
        assert "token" not in page.url
        yield
        # It asks how far steps are, and nobody will answer.
        page.goto("about:blank")


def has(page: sync_api.Page, selector: str, text: str, seconds: float = 60) -> None:
    """Wait until an element has a text."""
    sync_api.expect(page.locator(selector)).to_contain_text(text, timeout=1000 * seconds)


def check_accessible(page: sync_api.Page) -> None:
    found = axe_sync.Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def test_what_was_flagged_is_kept_refined_and_deployed_by_keys_alone(
    page: sync_api.Page, server: TorchServe, flagged: Path, tmp_path: Path
) -> None:
    # 28 of each quadrant.
    write_images(tmp_path / "clean", [k % 4 for k in range(112)], seed=5)
    words = ["--management", server.addresses.management, "--inference", server.addresses.inference]
    words += ["--key-file", server.key_file, "--model-store", server.model_store]
    words += ["--model-name", NAME, "--clean", tmp_path / "clean", "--output", tmp_path / "review"]
    press: Callable[[str], None] = page.keyboard.press
    kept = {file.name for file in flagged.glob("*.png")}
    with opened(page, tmp_path, *words):
        has(page, "#about", f"{FLAGGED} files, in {flagged}")
        # The model's answers come while the page is open.
        cell = page.locator(".cell", has_text="north-west →").first
        cell.wait_for(timeout=120_000)
        assert "score" in cell.inner_text()
        check_accessible(page)

        press("d")
        has(page, "#n-drop", "1")
        press("z")
        has(page, "#n-drop", "0")
        press("Shift+ArrowRight")
        press("d")
        has(page, "#n-drop", "2")
        press("z")
        press("a")
        press("k")
        has(page, "#n-keep", str(FLAGGED))
        assert page.locator("#deploy").is_disabled()

        to_button(page, "refine")
        press("Enter")
        has(page, "#question", f"{FLAGGED} kept files")
        check_accessible(page)
        assert page.evaluate("() => document.activeElement.id") == "q-no"
        press("Tab")
        press("Enter")
        has(page, "#h-running", "Refining")
        to_button(page, "cancel")
        press("Enter")
        has(page, "#h-running", "Refining: cancelled")
        assert not (tmp_path / "review" / "refined.safetensors").exists()

        to_button(page, "refine")
        press("Enter")
        press("Tab")
        press("Enter")
        has(page, "#comparison", "kept files that are flagged", 180)
        has(page, "#h-running", "Refining: done")
        check_accessible(page)
        new = load_bundle(tmp_path / "review" / "refined.safetensors").digest
        first = load_bundle(tmp_path / "first" / "first.safetensors").digest
        assert ask(server, noisy(0, triggered=True)).headers["x-fire-bundle"] == first != new

        to_button(page, "deploy")
        press("Enter")
        has(page, "#question", server.addresses.management)
        press("Tab")
        press("Enter")
        has(page, "#h-running", "Deploying: done", 180)
        has(page, "#deploy-note", "in service")
        answer = ask(server, noisy(0, triggered=True)).headers
        assert (answer["x-fire-bundle"], answer["x-fire-flagged"]) == (new, "true")
        assert server.management.describe(NAME).version == "1.1"

    with opened(page, tmp_path, *words):
        has(page, "#n-keep", str(FLAGGED))
        has(page, "#deploy-note", "in service")
    # Nothing was deleted. A new version may have flagged a picture by which it was tried.
    assert kept <= {file.name for file in flagged.glob("*.png")}


@pytest.mark.parametrize("kind", ["signed", "in place", "in place, signed"])
def test_a_refined_bundle_is_deployed_as_the_archive_has_it(
    page: sync_api.Page, server: TorchServe, tiny: TinyFiles, tmp_path: Path, kind: str
) -> None:
    write_images(tmp_path / "clean", [k % 4 for k in range(112)], seed=5)
    words = ["--management", server.addresses.management, "--inference", server.addresses.inference]
    words += ["--key-file", server.key_file, "--model-store", server.model_store]
    words += ["--model-name", NAME, "--clean", tmp_path / "clean", "--output", tmp_path / "review"]
    settings: dict[str, object] = {}
    if "signed" in kind:
        settings["trusted_keys"] = [PUBLIC]
        (tmp_path / "key.pem").write_text(PRIVATE)
        (tmp_path / "key.pem").chmod(0o600)
        words += ["--sign", tmp_path / "key.pem"]
    if "in place" in kind:
        settings["bundle_folder"] = str(tmp_path / "bundles")
        (tmp_path / "bundles").mkdir()
    press: Callable[[str], None] = page.keyboard.press
    with (
        flagging(server, tiny, tmp_path, KEY if "signed" in kind else None, **settings),
        opened(page, tmp_path, *words),
    ):
        press("a")
        press("k")
        has(page, "#n-keep", str(FLAGGED))
        for button, done in (("refine", "Refining: done"), ("deploy", "Deploying: done")):
            sync_api.expect(page.locator(f"#{button}")).to_be_enabled(timeout=120_000)
            to_button(page, button)
            press("Enter")
            press("Tab")
            press("Enter")
            has(page, "#h-running", done, 180)
        new = load_bundle(tmp_path / "review" / "refined.safetensors").digest
        answer = ask(server, noisy(0, triggered=True)).headers
        assert (answer["x-fire-bundle"], answer["x-fire-flagged"]) == (new, "true")
        version = server.management.describe(NAME).version
        assert version == ("1.0" if "in place" in kind else "1.1")


def to_button(page: sync_api.Page, name: str) -> None:
    """Go to a button by Tab alone."""
    for _ in range(40):
        if page.evaluate("() => document.activeElement.id") == name:
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"Tab does not reach {name}")


def test_ten_thousand_files_are_shown_piece_by_piece(page: sync_api.Page, tmp_path: Path) -> None:
    folder = tmp_path / "quarantine"
    folder.mkdir()
    data = noisy(0, triggered=True)
    for i in range(10_000):
        (folder / f"{i:05}.png").write_bytes(data)
    (folder / "<b>.txt").write_text("<script>alert(1)</script>")
    with opened(page, tmp_path, "quarantine"):
        has(page, "#about", "10,001 files")
        assert page.locator(".cell").count() < 300
        page.keyboard.press("End")
        sync_api.expect(page.locator(".cell.active")).to_be_in_viewport()
        page.keyboard.press("Home")
        page.keyboard.press("a")
        page.keyboard.press("k")
        has(page, "#n-keep", "10,001")
        page.select_option("#show", "open")
        has(page, "#empty", "No file matches.")
        page.click("#undo")
        has(page, "#n-open", "10,001")
        assert page.locator("script").count() == 1


def test_keys_that_follow_fast_are_taken_one_after_the_other(
    page: sync_api.Page, tmp_path: Path
) -> None:
    write_images(tmp_path / "quarantine", [0, 1, 2, 3], flat=True)
    with opened(page, tmp_path, "quarantine"):
        # The server is slow: no answer comes between two keys.
        page.route("**/api/decide", lambda route: (time.sleep(0.2), route.continue_()))
        for key in "kkd":
            page.keyboard.press(key)
        has(page, "#n-drop", "1")
        has(page, "#n-keep", "2")
        for key in "zad":
            page.keyboard.press(key)
        has(page, "#n-drop", "4")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_the_page_is_accessible(
    page: sync_api.Page, tmp_path: Path, scheme: str, width: int
) -> None:
    write_images(tmp_path / "quarantine", [0, 1, 2, 3] * 5, flat=True)
    (tmp_path / "quarantine" / "row.csv").write_text("a,b\n1,2\n")
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 800})
    with opened(page, tmp_path, "quarantine"):
        page.keyboard.press("k")
        page.keyboard.press("d")
        has(page, "#n-drop", "1")
        page.keyboard.press("Space")
        check_accessible(page)
        assert page.evaluate("() => document.documentElement.scrollWidth") <= width
        page.keyboard.press("Enter")
        page.locator("#large[open]").wait_for()
        check_accessible(page)
        page.keyboard.press("Escape")
        page.keyboard.press("?")
        page.locator("#help[open]").wait_for()
        check_accessible(page)
