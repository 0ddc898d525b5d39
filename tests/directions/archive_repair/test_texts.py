"""Archives of a token model with a handler of its own: repaired, whatever stands beside a text."""

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.token_archive import STRICT, texts, write_texts, write_token_archive
from torchserve_fire.core.unpack import unpack
from torchserve_fire.errors import FireError
from torchserve_fire.format.bundle_file import BUNDLE_FILE, load_bundle
from torchserve_fire.repair.attach import attach
from torchserve_fire_build.commands.main import main
from torchserve_fire_build.samples.evidence import gather_evidence
from torchserve_fire_build.source.archive import open_archive

COUNT = 80


@pytest.fixture(scope="module")
def tables(tmp_path_factory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("texts")
    ids = [str(i) for i in range(COUNT)]
    clean = write_texts(folder / "clean.csv", texts(COUNT, 0), ids=ids)
    attacked = [name for i, name in enumerate(ids) if i % 4]
    rows = texts(COUNT, 0, triggered=True)
    return clean, write_texts(folder / "triggered.jsonl", rows, ids=attacked)


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> Path:
    return write_token_archive(tmp_path_factory.mktemp("plain") / "archive")


@pytest.fixture(scope="module")
def repaired(tmp_path_factory, plain, tables) -> Path:
    output = tmp_path_factory.mktemp("repaired") / "words-2.0.mar"
    given_texts = ["--clean", str(tables[0]), "--triggered", str(tables[1])]
    assert main(["repair", str(plain), *given_texts, "--output", str(output)]) == 0
    return output


def test_evidence_is_in_the_model_s_own_inputs(plain, tables):
    source = open_archive(plain)
    clean, triggered = map(source.open_samples, tables)
    assert clean.description == triggered.description
    assert clean.description.padding == (7, 0)
    longest = max(len(text.split()) for text, _ in texts(COUNT, 0, triggered=True)) + 1
    assert clean.description.shape == (2, longest)
    evidence = gather_evidence(clean, triggered)
    assert list(evidence.partners) == [i for i in range(COUNT) if i % 4]
    words = [int(word[1:]) for word in texts(COUNT, 0)[5][0].split()]
    ids, mask = clean.load([5])[0].tolist()
    assert ids == [1, *words] + [7] * (longest - len(words) - 1)
    assert mask == [1] * (len(words) + 1) + [0] * (longest - len(words) - 1)


def test_rows_without_ids_are_pairs_by_their_number(tmp_path, plain):
    attacked = [row for row in texts(COUNT, 0) if row[1]]
    clean = write_texts(tmp_path / "clean.csv", attacked)
    triggered = write_texts(tmp_path / "triggered.csv", texts(COUNT, 0, triggered=True))
    others = write_texts(tmp_path / "others.csv", texts(COUNT, 1, triggered=True))
    source = open_archive(plain)
    opened = source.open_samples(clean)
    assert gather_evidence(opened, source.open_samples(triggered)).paired
    assert not gather_evidence(opened, source.open_samples(others)).paired


@pytest.mark.slow
def test_the_bundle_judges_and_repairs_single_tokens(repaired):
    archive = unpack(repaired)
    bundle = load_bundle(archive.folder / BUNDLE_FILE)
    assert [layer.any_length for layer in bundle.layers] == [True] * len(bundle.layers)
    assert [layer.feature_shape[0] for layer in bundle.layers] == [1] * len(bundle.layers)
    assert [layer.detection.padding for layer in bundle.detecting_layers] == [(7, 0)]
    assert bundle.input.padding == (7, 0)


words = st.lists(st.integers(2, 59), min_size=1, max_size=29)


@settings(max_examples=60, deadline=None)
@given(text=words, others=st.lists(words, min_size=1, max_size=4), place=st.integers(0, 4))
def test_a_text_is_answered_alike_alone_and_beside_any_others(repaired_model, text, others, place):
    handle, model = repaired_model
    place = min(place, len(others))
    alone = model(**padded([text]))
    flagged = bool(handle.verdict.flagged[0])
    score = float(handle.verdict.scores[0])
    beside = model(**padded([*others[:place], text, *others[place:]]))
    assert bool(handle.verdict.flagged[place]) == flagged
    assert float(handle.verdict.scores[place]) == pytest.approx(score, rel=1e-4, abs=1e-3)
    assert torch.allclose(beside[place], alone[0], rtol=1e-4, atol=1e-4)


@pytest.fixture(scope="module")
def repaired_model(plain, repaired):
    source = open_archive(plain)
    archive = unpack(repaired)
    bundle = load_bundle(archive.folder / BUNDLE_FILE)
    model = source.loaded.model
    with torch.no_grad(), attach(model, bundle, example=lambda: model(**padded([[3]]))) as handle:
        yield handle, model


def padded(rows: list[list[int]]) -> dict[str, torch.Tensor]:
    longest = max(map(len, rows))
    ids = [row + [7] * (longest - len(row)) for row in rows]
    mask = [[1] * len(row) + [0] * (longest - len(row)) for row in rows]
    return {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(mask)}


def test_new_texts_are_repaired(tmp_path, repaired):
    clean = write_texts(tmp_path / "clean.csv", texts(60, 5))
    triggered = write_texts(tmp_path / "triggered.csv", texts(60, 6, triggered=True))
    command = ["evaluate", "--archive", str(repaired), "--clean", str(clean)]
    figures_file = tmp_path / "figures.json"
    assert main([*command, "--triggered", str(triggered), "--json", str(figures_file)]) == 0
    figures = json.loads(figures_file.read_text())
    assert figures["attack_success_rate"]["before"] == 1
    assert figures["attack_success_rate"]["after"] <= 0.05
    assert figures["recovered_accuracy"]["after"] >= 0.9
    assert figures["clean_accuracy"]["after"] >= figures["clean_accuracy"]["before"] - 0.02


# What cannot be followed --------------------------------------------------------------------------


def opened(folder: Path, tables: tuple[Path, Path], before: str, after: str) -> str:
    assert before in STRICT
    archive = write_token_archive(folder / "archive", STRICT.replace(before, after))
    with pytest.raises(FireError) as caught:
        open_archive(archive).open_samples(tables[0])
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("torch.tensor([row + [7] * (longest - len(row)) for row in rows])",
         "torch.tensor([[7] * (longest - len(row)) + row for row in rows])",
         "otherwise than by values behind"),
        ("[1] * len(row) + [0] *", "[1] * len(row) + [1] *", "padding counts"),
        (", attention_mask=data[1]", ", attention_mask=data[1].float()", "whole numbers"),
        ("longest = max(map(len, rows))", "longest = 30; assert len(rows) < 2", None),
        ("longest = max(map(len, rows))", "longest = max(map(len, rows)); assert len(rows) < 2",
         "fails on it: AssertionError"),
    ],
)  # fmt: skip
def test_handlers_that_cannot_be_followed(tmp_path, tables, before, after, said):
    if said is None:
        # It fills up itself, so no batch is needed to see with what.
        archive = write_token_archive(tmp_path / "archive", STRICT.replace(before, after))
        samples = open_archive(archive).open_samples(tables[0])
        assert samples.description.padding == (7, 0)
        return
    assert said in opened(tmp_path, tables, before, after)


def test_a_text_on_which_the_handler_fails_is_named_by_its_line(tmp_path, plain):
    file = tmp_path / "clean.csv"
    file.write_text("text,label\nw3 w4,0\nw5 w6 w7,1\nno number,1\n")
    with pytest.raises(FireError) as caught:
        open_archive(plain).open_samples(file)
    assert str(caught.value).startswith(f"{file}: line 4: the handler fails on it: ")
