import csv
import io
import json
from html.parser import HTMLParser

import pytest

from torchserve_fire_build.common.errors import OutputError
from torchserve_fire_build.report.html_report import (
    FILES,
    Bars,
    Picture,
    Report,
    SampleTable,
    Table,
    check_report_files,
    render,
    write_html_report,
)

PNG = b"\x89PNG"
FIGURES = Table("Figures & more", ("", "after"), [("BA", "50 %"), ("a_b", "<1>")], "Read it so.")
SAMPLES = SampleTable(("sample", "score"), [("a, b", "10"), ("<script>alert(1)</script>", "9")])


class Page(HTMLParser):
    """Collects the tags that are open at a time, and what a reader sees."""

    EMPTY = ("meta", "link", "img", "input")

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.text = [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def report(**values):
    return Report(
        **{
            "title": "Evaluation of <net>",
            "verdict": "It is gone.",
            "tone": "good",
            "tables": [FIGURES],
            "values": {"figures": {"BA": 0.5}},
            "provenance": {"command": "torchserve-fire 'a b'"},
            **values,
        }
    )


def test_a_page_is_whole_and_shows_what_it_is_given():
    bars = Bars("Index", ["0", "1"], [1.0, 4.0], 2.0, "The dashed line.")
    whole = report(bars=[bars], pictures=[Picture(PNG, "a cat")], samples=SAMPLES)
    page = Page(render(whole))
    assert page.open == []
    for text in ("Evaluation of <net>", "It is gone.", "Figures & more", "Read it so.", "a cat"):
        assert text in page.text
    # The longest bar fills the width, the line stands at half of it.
    styles = [each["style"] for each in page.all("div") if "style" in each]
    assert styles == ["width: 25.0%", "left: 50.0%", "width: 100.0%", "left: 50.0%"]
    (image,) = page.all("img")
    assert image == {"alt": "a cat", "src": "data:image/png;base64,iVBORw=="}


def test_nothing_comes_from_the_network():
    page = Page(render(report(samples=SAMPLES, pictures=[Picture(PNG, "")])))
    named = [each.get("src") or each.get("href") for _, each in page.tags]
    assert all(name.startswith("data:") for name in named if name)


def test_what_samples_are_called_is_no_markup():
    page = Page(render(report(samples=SAMPLES)))
    assert len(page.all("script")) == 1
    assert "<script>alert(1)</script>" in page.text


def test_a_line_without_a_threshold_and_bars_of_nothing():
    page = Page(render(report(bars=[Bars("Index", ["0"], [0.0])])))
    assert [each.get("style") for each in page.all("div") if "style" in each] == ["width: 0.0%"]


def test_the_same_as_data(tmp_path):
    page = write_html_report(report(samples=SAMPLES), tmp_path / "report")
    assert sorted(file.name for file in page.parent.iterdir()) == sorted(FILES)
    values = json.loads(page.with_name("report.json").read_text())
    assert values == {
        "verdict": "It is gone.",
        "provenance": {"command": "torchserve-fire 'a b'"},
        "figures": {"BA": 0.5},
    }
    rows = list(csv.reader(io.StringIO(page.with_name("report.csv").read_text())))
    assert rows == [list(SAMPLES.head), *map(list, SAMPLES.rows)]
    latex = page.with_name("report.tex").read_text()
    assert "BA & 50 \\% \\\\\na\\_b & <1> \\\\\n" in latex


def test_without_samples_the_figures_are_the_rows(tmp_path):
    page = write_html_report(report(), tmp_path)
    assert page.with_name("report.csv").read_text() == ",after\nBA,50 %\na_b,<1>\n"


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "report").write_text("")
    with pytest.raises(OutputError, match="is a file, expected a folder"):
        check_report_files(tmp_path / "report")
