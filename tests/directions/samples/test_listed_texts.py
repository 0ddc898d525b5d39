"""Tables of texts: what is read, and what is refused, with the line that is wrong."""

from pathlib import Path

import pytest

from torchserve_fire_build.common.errors import SamplesError
from torchserve_fire_build.samples.listed_texts import holds_texts, texts_in_list

ROWS = """\
{"id": 7, "text": "Über alles, \\"so\\".", "label": "b"}
{"id": "x", "text": "Two", "label": "a"}
"""


def written(folder: Path, name: str, content: str | bytes) -> Path:
    file = folder / name
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return file


def test_csv_and_json_lines_say_the_same(tmp_path):
    csv = 'label,id,text\nb,7,"Über alles, ""so""."\na,x,Two\n'
    one, other = (
        texts_in_list(written(tmp_path, name, content))
        for name, content in (("a.csv", csv), ("a.jsonl", ROWS))
    )
    for read in (one, other):
        assert read.texts == ['Über alles, "so".', "Two"]
        assert read.names == ["7", "x"]
        assert read.class_names == ["b", "a"]
        assert read.labels is None
        assert not read.numbered
        assert read.body(0).content == 'Über alles, "so".'.encode()
        assert read.body(0).suffix == ".txt"
    assert one.place(1) == f"{tmp_path / 'a.csv'}: line 3"
    assert other.place(1) == f"{tmp_path / 'a.jsonl'}: line 2"


def test_without_ids_rows_are_called_by_their_number(tmp_path):
    read = texts_in_list(written(tmp_path, "a.csv", "text,label\n one ,0\ntwo,3\n"))
    assert read.numbered
    assert read.names == ["0", "1"]
    assert read.labels.tolist() == [0, 3]
    # White space is the text's own: a handler may look at it.
    assert read.texts[0] == " one "


def test_a_text_of_several_lines_is_one(tmp_path):
    read = texts_in_list(written(tmp_path, "a.csv", 'text\n"one\ntwo"\nthree\n'))
    assert read.texts == ["one\ntwo", "three"]


def test_a_byte_order_mark_is_no_part_of_a_column(tmp_path):
    read = texts_in_list(written(tmp_path, "a.csv", b"\xef\xbb\xbftext\r\none\r\n"))
    assert read.texts == ["one"]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.csv", "text,label\n", True),
        ("a.csv", "path,text\n", False),
        ("a.csv", "path\n", False),
        ("a.csv", "", False),
        ("a.jsonl", '\n{"text": "a"}\n', True),
        ("a.jsonl", '{"path": "a"}\n', False),
        ("a.jsonl", "", False),
    ],
)
def test_columns_tell_texts_from_files(tmp_path, name, content, expected):
    assert holds_texts(written(tmp_path, name, content)) is expected


@pytest.mark.parametrize(
    ("name", "content"), [("a.csv", "title,label\n"), ("a.jsonl", '{"title": "a", "label": 0}\n')]
)
def test_a_table_of_neither_is_refused(tmp_path, name, content):
    with pytest.raises(SamplesError, match="line 1: 'title, label', expected a column 'path'"):
        holds_texts(written(tmp_path, name, content))


@pytest.mark.parametrize(
    ("name", "content", "line", "said"),
    [
        ("a.csv", "text\n", "", "expected a row for each sample"),
        ("a.jsonl", "\n", "", "expected a row for each sample"),
        ("a.csv", "words\na\n", "line 1: ", "'words'"),
        ("a.csv", "text;label\na;0\n", "line 1: ", "'text;label'"),
        ("a.csv", "text,label\n,0\n", "line 2: ", "no text"),
        ("a.csv", "label,text\n0\n", "line 2: ", "no text"),
        ("a.csv", 'text\n"   "\n', "line 2: ", "text '   '"),
        ("a.jsonl", '{"text": "a"}\n{"label": 0}\n', "line 2: ", "no text"),
        ("a.jsonl", '{"text": null}\n', "line 1: ", "no text"),
        ("a.jsonl", '{"text": 5}\n', "line 1: ", "text 5"),
        ("a.jsonl", '{"text": ["a"]}\n', "line 1: ", "text ['a']"),
        ("a.jsonl", '{"text": {"a": 1}}\n', "line 1: ", "text {'a': 1}"),
        ("a.jsonl", '{"text": true}\n', "line 1: ", "text True"),
        ("a.jsonl", '{"text": "\\ud800"}\n', "line 1: ", "surrogate"),
        ("a.jsonl", '{"text": "a"}\n["b"]\n', "line 2: ", "JSON object"),
        ("a.jsonl", '{"text": "a"}\n"b"\n', "line 2: ", "JSON object"),
        ("a.jsonl", '{"text": "a"\n', "line 1: ", "JSON object"),
        ("a.jsonl", "[" * 100_000, "line 1: ", "JSON object"),
        ("a.jsonl", b'{"text": "\xff"}\n', "", "UTF-8"),
        ("a.csv", b"text\n\xe4\n", "", "UTF-8"),
        ("a.csv", b"text\na\n" + "b".encode("utf-16"), "", "UTF-8"),
        ("a.csv", "text\n" + "a" * 200_000 + "\n", "", "field larger"),
        ("a.jsonl", '{"text": "a", "label": 1.5}\n', "line 1: ", "label 1.5"),
        ("a.jsonl", '{"text": "a", "label": [0]}\n', "line 1: ", "label [0]"),
        ("a.jsonl", '{"text": "a", "label": true}\n', "line 1: ", "label True"),
        ("a.jsonl", '{"text": "a", "label": 0}\n{"text": "b"}\n', "line 2: ", "no label"),
        ("a.csv", "text,label\na,\nb,1\n", "line 3: ", "label, expected one on every line"),
        ("a.jsonl", '{"text": "a", "id": 1}\n{"text": "b"}\n', "line 2: ", "no id"),
        ("a.jsonl", '{"text": "a"}\n{"text": "b", "id": 1}\n', "line 2: ", "an id"),
        ("a.jsonl", '{"text": "a", "id": [1]}\n', "line 1: ", "id [1]"),
        ("a.jsonl", '{"text": "a", "id": 1.0}\n', "line 1: ", "id 1.0"),
        ("a.csv", "id,text\n1,a\n2,b\n 1 ,c\n", "line 4: ", "twice, first in line 2"),
    ],
)
def test_what_is_no_table_of_texts(tmp_path, name, content, line, said):
    file = written(tmp_path, name, content)
    with pytest.raises(SamplesError) as caught:
        texts_in_list(file)
    message = str(caught.value)
    assert message.startswith(f"{file}: {line}")
    assert said in message
    assert "\n" not in message


def test_a_folder_that_is_called_a_table(tmp_path):
    (tmp_path / "a.csv").mkdir()
    with pytest.raises(SamplesError, match="cannot be read"):
        texts_in_list(tmp_path / "a.csv")
