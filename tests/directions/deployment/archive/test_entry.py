"""The entry of an archive: which handlers it is put around, and what it says of those it is not."""

from pathlib import Path

import pytest

from torchserve_fire.errors import FireError, ModelError
from torchserve_fire_build.deployment.archive.entry import HandlerEntry, entry_around, entry_of


def test_the_entry_around_a_class(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("class Mine: pass\n")
    assert entry_of(str(file)) == (HandlerEntry("mine", "Mine"), file)
    source = entry_around(HandlerEntry("mine", "Mine"))
    assert "from mine import Mine" in source
    assert "class FireService(RepairMixin, Mine):" in source


@pytest.mark.parametrize("suffix", ["", ":handle"])
def test_the_entry_around_a_function(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / "mine.py"
    file.write_text("class A: pass\nclass B: pass\ndef handle(data, context): ...\n")
    entry, packed = entry_of(str(file) + suffix)
    assert (entry, packed) == (HandlerEntry("mine", "handle", is_function=True), file)
    assert "function = staticmethod(mine.handle)" in entry_around(entry)


def test_one_of_torchserves_own_is_taken_by_its_name() -> None:
    entry, packed = entry_of("image_classifier")
    assert (entry.name, packed) == ("ImageClassifier", None)
    assert "from ts.torch_handler.image_classifier import ImageClassifier" in entry_around(entry)


@pytest.mark.parametrize(
    ("name", "content", "suffix", "said"),
    [
        ("two.py", "class A: pass\nclass B: pass\n", "", "defines A, B, expected one class"),
        ("none.py", "x = 1\n", "", "defines no class, expected one class, or a function"),
        ("broken.py", "class A(:\n", "", "not valid Python"),
        ("my-handler.py", "class A: pass\n", "", "can be imported"),
        ("named.py", "def handle(d, c): ...\n", ":start", "functions handle, expected start"),
    ],
)
def test_what_torchserve_would_not_take_is_refused(
    tmp_path: Path, name: str, content: str, suffix: str, said: str
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(FireError, match=said):
        entry_of(str(tmp_path / name) + suffix)


def test_a_name_that_is_none_of_torchserves_is_refused() -> None:
    with pytest.raises(FireError, match="such as image_classifier"):
        entry_of("image_clasifier")


def test_a_library_that_a_handler_lacks_is_named_with_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "needs_cv2_and_more.py"
    file.write_text("import skimage.not_there\n\n\nclass Mine:\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    source = entry_around(entry_of(str(file))[0])
    with pytest.raises(
        ModelError, match=r"needs_cv2_and_more\.py cannot be .*pip install scikit-im"
    ):
        exec(source, {"__name__": "entry"})  # noqa: S102 - what an archive would run.
