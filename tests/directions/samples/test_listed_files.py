import json

import pytest
from PIL import Image

from tests.directions.messages import one_line
from torchserve_fire.model.config import HandlerConfig
from torchserve_fire_build.common.errors import SamplesError
from torchserve_fire_build.samples.class_index import ClassIndex
from torchserve_fire_build.samples.evidence import gather_evidence
from torchserve_fire_build.samples.open_samples import open_samples

IMAGES = HandlerConfig("image", (2, 2), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


@pytest.fixture
def folder(tmp_path):
    for i, name in enumerate(("clean/cat/a.png", "clean/dog/b.png", "triggered/dog/b.png")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (2, 2), (51 * i,) * 3).save(tmp_path / name)
    return tmp_path


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


FORMS = {
    "l.csv": lambda rows: "".join(f"{','.join(map(str, row))}\n" for row in [*rows]),
    "l.jsonl": lambda rows: "".join(
        json.dumps(dict(zip(rows[0], row, strict=True))) + "\n" for row in rows[1:]
    ),
}


@pytest.mark.parametrize("name", FORMS)
def test_a_list_of_paths_and_class_indices(folder, name):
    rows = [("path", "label"), ("clean/dog/b.png", 1), ("clean/cat/a.png", 0)]
    samples = open_samples(write(folder / name, FORMS[name](rows)), IMAGES)
    assert list(samples.names) == ["dog/b.png", "cat/a.png"]
    assert samples.labels.tolist() == [1, 0]
    assert [round(float(x.mean()), 3) for x in samples.load([0, 1])] == [0.2, 0.0]


@pytest.mark.parametrize("name", FORMS)
def test_labels_may_be_names_of_classes(folder, name):
    rows = [("path", "label"), ("clean/dog/b.png", "dog"), ("clean/cat/a.png", "cat")]
    samples = open_samples(write(folder / name, FORMS[name](rows)), IMAGES)
    assert ClassIndex.find([samples], 2, None).labels(samples).tolist() == [1, 0]
    names = write(folder / "index_to_name.json", '{"0": "dog", "1": "cat"}')
    assert ClassIndex.find([samples], 2, names).labels(samples).tolist() == [0, 1]


@pytest.mark.parametrize("name", FORMS)
def test_without_labels_the_folders_are_no_classes(folder, name):
    rows = [("path",), ("clean/dog/b.png",), ("clean/cat/a.png",)]
    samples = open_samples(write(folder / name, FORMS[name](rows)), IMAGES)
    assert samples.labels is None
    assert samples.class_names is None


def test_columns_may_be_in_any_order_with_others_beside_them(folder):
    text = '\ufefflabel,split, path\n1,test,"clean/dog/b.png"\n0,test,clean/cat/a.png\n'
    samples = open_samples(write(folder / "l.csv", text), IMAGES)
    assert list(samples.names) == ["dog/b.png", "cat/a.png"]


def test_two_lists_make_pairs_as_their_folders_would(folder):
    clean = write(folder / "clean.csv", "path\nclean/cat/a.png\nclean/dog/b.png\n")
    triggered = write(folder / "triggered" / "l.csv", "path\ndog/b.png\n")
    # A list of one folder alone is relative to it.
    with_folders = open_samples(folder / "triggered", IMAGES)
    listed = open_samples(triggered, IMAGES)
    assert list(listed.names) == ["b.png"]
    evidence = gather_evidence(open_samples(clean, IMAGES), with_folders)
    assert list(evidence.partners) == [1]


def test_absolute_paths_are_taken_as_they_are(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    text = f"path\n{folder / 'clean/cat/a.png'}\n{folder / 'clean/dog/b.png'}\n"
    samples = open_samples(write(elsewhere / "l.csv", text), IMAGES)
    assert list(samples.names) == ["cat/a.png", "dog/b.png"]


@pytest.mark.parametrize(
    ("name", "text", "parts"),
    [
        ("l.csv", "", ["line 1", "'path'"]),
        ("l.csv", "clean/cat/a.png\n", ["line 1", "'path'"]),
        ("l.csv", "path;label\nclean/cat/a.png;0\n", ["'path;label', expected", "commas"]),
        ("l.csv", "path\n", ["found none"]),
        ("l.csv", "path\nnowhere.png\n", ["line 2", "nowhere.png", "no such file"]),
        ("l.csv", "path\nclean\n", ["line 2", "no such file"]),
        ("l.csv", "path,label\n,1\n", ["line 2", "no path"]),
        ("l.csv", "path,label\nclean/cat/a.png,0\nclean/dog/b.png,\n", ["line 3", "no label"]),
        ("l.csv", "path,label\nclean/cat/a.png,\nclean/dog/b.png,1\n", ["line 3", "a label"]),
        ("l.csv", "path\nclean/cat/a.png\nclean/./cat/a.png\n", ["line 3", "twice"]),
        ("l.jsonl", '{"path": "clean/cat/a.png"}\n[1]\n', ["line 2", "JSON object"]),
        ("l.jsonl", "{\n", ["line 1", "JSON object"]),
        ("l.jsonl", '{"path": 3}', ["line 1", "no path"]),
        ("l.jsonl", '{"path": "clean/cat/a.png", "label": 1.5}', ["line 1", "label 1.5"]),
        ("l.jsonl", '{"path": "clean/cat/a.png", "label": true}', ["line 1", "label True"]),
    ],
)
def test_a_list_that_cannot_be_read_is_refused(folder, name, text, parts):
    file = write(folder / name, text)
    with pytest.raises(SamplesError) as caught:
        open_samples(file, IMAGES)
    one_line(caught, str(file), *parts)


def test_a_list_in_another_encoding_is_refused(folder):
    (folder / "l.csv").write_bytes("path\nhäuser.png\n".encode("latin-1"))
    with pytest.raises(SamplesError) as caught:
        open_samples(folder / "l.csv", IMAGES)
    one_line(caught, "l.csv", "UTF-8")


def test_a_label_that_is_no_class_of_the_model_is_refused(folder):
    file = write(folder / "l.csv", "path,label\nclean/cat/a.png,1\nclean/dog/b.png,2\n")
    samples = open_samples(file, IMAGES)
    with pytest.raises(SamplesError) as caught:
        ClassIndex.find([samples], 2, None).labels(samples)
    one_line(caught, str(file), "label 2", "number the classes from 0, not 1")


def test_a_listed_file_that_is_no_image_is_refused_when_it_is_read(folder):
    (folder / "clean" / "notes.txt").write_text("no image")
    samples = open_samples(write(folder / "l.csv", "path\nclean/notes.txt\n"), IMAGES)
    with pytest.raises(SamplesError) as caught:
        samples.load([0])
    one_line(caught, "notes.txt")
