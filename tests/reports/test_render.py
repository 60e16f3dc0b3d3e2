"""Reports in every format: complete, equal for equal results, written whole."""

from __future__ import annotations

import dataclasses
import hashlib
import html
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from qloc.analysis.results import load
from qloc.errors import InputError, StorageError
from qloc.reports import result_text
from qloc.reports.build import build
from qloc.reports.paper.earlier_files import LIST
from qloc.reports.render import RENDERERS, refuse_ending, render, write, write_paper
from qloc.reports.renderers import markdown

FORMATS = tuple(RENDERERS)


WRITTEN = {"html": lambda text: html.escape(text, quote=False), "md": markdown.escape,
           "json": lambda text: json.dumps(text, ensure_ascii=False)[1:-1]}  # fmt: skip


NASTY = "<script>alert('x')</script>"


def folded(page: str) -> str:
    """HTML's quotes as the standard library writes them, terms and tags as words, so that texts compare."""
    page = re.sub(r'<a class="term"[^>]*><abbr [^>]*>(.*?)</abbr></a>', r"\1", page)
    page = re.sub(r' <span class="tag published">.*? as published</span>', ", as published", page)
    return page.replace("&#39;", "'").replace("&#34;", '"')


@pytest.mark.parametrize("format", FORMATS)
def test_every_sentence_is_there(rendered, study, format):
    page, written = folded(rendered[format, "rich"]), WRITTEN[format]
    said = [study.model, study.facts, *study.notes, build([study]).parts[0].summary.headline]
    for question in study.questions:
        said += [question.title, question.answer, *question.references, *question.method.split("\n\n")]
        said += [text for test in question.tests for text in (test.sentence(), test.question, *test.checks)]
        said += [text for table in question.tables for text in (table.title, table.note)]
    if format == "html":
        said = [text for text in said if "arXiv" not in text]
        assert page.count('<a href="https://arxiv.org/abs/2405.14117">arXiv:2405.14117</a>') == 1
    missing = [text for text in said if written(text) not in page]
    assert missing == []


@pytest.mark.parametrize("format", ["html", "md"])
def test_every_number_is_there_rounded(rendered, study, format):
    page, written = folded(rendered[format, "rich"]), WRITTEN[format]
    cells = [
        cell
        for section in build([study]).parts[0].sections
        for table in section.tables
        for row in result_text.laid_out(table).rows
        for cell in row
    ]
    assert len(cells) > 300
    assert [cell for cell in cells if written(cell) not in page] == []
    for test in study.tests():
        assert written(result_text.estimate(test)) in page
        assert written(result_text.surety(test)) in page
    for value in study.provenance.values():
        assert written(value) in page
    for count in study.counts.values():
        assert written(f"{count:,}") in page


@pytest.mark.parametrize("format", ["html", "md"])
def test_synthetic_studies_say_so(rendered, format):
    said = "made up for demonstration"
    assert said in rendered[format, "rich"]
    assert said not in rendered[format, "void"]


def test_same_results_same_bytes_in_every_process(study, tmp_path):
    dataclasses.replace(study, questions=study.questions[:1]).save(tmp_path)
    program = (
        "import sys, hashlib; from pathlib import Path; from qloc.analysis.results import load; "
        "from qloc.reports.render import render; study = load(Path(sys.argv[1])); "
        "[print(hashlib.sha256(render([study], f).encode()).hexdigest()) for f in sys.argv[2:]]"
    )
    said = [
        subprocess.run(
            [sys.executable, "-c", program, str(tmp_path), *FORMATS],
            env={**os.environ, "PYTHONHASHSEED": seed, "TZ": zone, "MATPLOTLIBRC": str(tmp_path)},
            capture_output=True, text=True, check=True,
        ).stdout
        for seed, zone in (("1", "UTC"), ("2", "Asia/Tokyo"))
        if (tmp_path / "matplotlibrc").write_text("font.size: " + ("30" if seed == "1" else "5"))
    ]  # fmt: skip
    assert said[0] == said[1]
    assert len(set(said[0].split())) == 3


def test_saved_and_loaded_results_render_alike(study, void, tmp_path):
    for result in (study, void):
        result.save(tmp_path)
        assert render([load(tmp_path)], "md") == render([result], "md")


def test_hostile_texts_stay_texts_in_html(rendered):
    page = rendered["html", "hostile"]
    assert "<script" not in page
    assert "javascript:" not in re.sub(r">[^<]*<", "><", page).replace("[l](javascript:x)", "")
    assert html.escape(NASTY, quote=False) in folded(page)
    assert "{{ 7*7 }}" in page
    assert "49" not in re.findall(r"<h1>(.*?)</h1>", page, re.S)[0]


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("name", ["bare", "void"])
def test_nothing_reads_as_nan_or_none(rendered, format, name):
    page = re.sub(r"<style>.*?</style>|<svg.*?</svg>", "", rendered[format, name], flags=re.S)
    shown = page.replace(' "', "").replace('model":none', "")
    assert not re.search(r"\b(nan|NaN|None|inf)\b", shown)
    if format == "html":
        assert ("asked no question" in page) == (name == "bare")
        assert ("not available" in page) == (name == "void")


@pytest.mark.parametrize("format", FORMATS)
def test_several_studies_stand_side_by_side(rendered, study, format):
    page = folded(rendered[format, "two"])
    for text in (
        "2 studies compared",
        study.title,
        "another",
        study.tests()[0].question,
        "0.412 [0.381, 0.442]",
    ):
        assert WRITTEN[format](text) in page


def test_an_unknown_format_is_refused(study):
    with pytest.raises(InputError) as raised:
        render([study], "pdf")  # type: ignore[arg-type]
    assert str(raised.value) == (
        "format is 'pdf'; expected html or md or latex or json. At qloc report --format. Name one of these."
    )


def test_a_report_is_written_whole(tmp_path):
    path = tmp_path / "new" / "report.html"
    assert write("κ\n", path) == path
    assert write("κ²\n", path) == path
    assert path.read_bytes() == "κ²\n".encode()
    assert [entry.name for entry in path.parent.iterdir()] == ["report.html"]


@pytest.mark.parametrize("fault", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_what_is_half_written_goes(tmp_path, monkeypatch, fault):
    path = tmp_path / "report.html"
    write("before", path)

    def fail(_descriptor: int) -> None:
        raise fault

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises((StorageError, KeyboardInterrupt)) as raised:
        write("after", path)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]
    if isinstance(fault, OSError):
        assert str(raised.value) == (
            f"report is {str(path)!r}; expected a file that can be written. At No space left on device. "
            "Choose another --out or make room."
        )


def test_a_paper_is_written_again_into_its_folder_and_into_no_other(bare, tmp_path):
    assert write_paper([bare], tmp_path / "new" / "paper") == tmp_path / "new" / "paper" / "main.tex"
    folder = tmp_path / "new" / "paper"
    written = json.loads((folder / LIST).read_text())
    assert {*written, LIST, "main.tex"} == {
        str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()
    }
    (folder / "tables").mkdir(exist_ok=True)
    (folder / "tables" / "old.tex").write_bytes(b"")
    (folder / LIST).write_text(json.dumps({**written, "tables/old.tex": hashlib.sha256(b"").hexdigest()}))
    assert write_paper([bare], folder).read_bytes().endswith(b"\\end{document}\n")
    assert json.loads((folder / LIST).read_text()) == written
    assert not (folder / "tables" / "old.tex").exists()
    for taken in ("folder", "file"):
        (tmp_path / "folder").mkdir(exist_ok=True)
        (tmp_path / "folder" / "main.tex").write_text("% mine\n")
        (tmp_path / "file").write_text("")
        with pytest.raises(InputError) as raised:
            write_paper([bare], tmp_path / taken)
        assert str(raised.value) == (
            f"out is {str(tmp_path / taken)!r}; expected a new or empty folder, or one with files that this "
            "command wrote. At qloc report --format latex. Give another --out."
        )
    assert (tmp_path / "folder" / "main.tex").read_text() == "% mine\n"


@pytest.mark.parametrize(
    ("name", "format", "expected"),
    [
        ("paper.tex", "latex", "a folder, into which main.tex and its files are written"),
        ("paper.md", "latex", "a folder, or --format md"),
        ("paper.md", "html", "a name with the ending .html, or --format md"),
        ("paper.pdf", "html", "a name with the ending .html, .md, .json"),
        ("paper.PDF", "latex", "a folder"),
    ],
)
def test_a_name_of_another_format_is_refused(name, format, expected):
    with pytest.raises(InputError) as raised:
        refuse_ending(Path(name), format)
    assert f"out is {name!r}; expected {expected}. At" in str(raised.value)


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(InputError) as raised:
        refuse_ending(tmp_path, "md")
    assert str(raised.value) == (
        f"out is {str(tmp_path)!r}; expected a file, not a folder. At qloc report --out. "
        f"Give {tmp_path / 'report.md'}."
    )
    refuse_ending(tmp_path, "latex")


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="Choose another --out"):
        write("text", Path(tmp_path / "file" / "report.html"))
