"""A paper's files: whole, equal for equal results, and compiled by pdfLaTeX where it is."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace

import pytest

from qloc.reports.build import build
from qloc.reports.paper.latex_text import escape
from qloc.reports.paper.paper import paper


@pytest.fixture(scope="module")
def papers(study, hostile, bare, void):
    foreign = replace(hostile, facts="中国 → 北京, Ж, 👍, e\u0301 \u202f½ " + "W" * 300)
    several = [foreign, bare, replace(void, title="another_" * 9)]
    return {"rich": paper(build([study])), "several": paper(build(several))}


def test_every_table_and_figure_has_its_files_and_is_input(papers, study):
    files, document = papers["rich"], build([study])
    tables = [
        f"{section.id}-{table.name}" for section in document.parts[0].sections for table in section.tables
    ]
    for name in ("tests", *tables):
        assert f"tables/{name}.csv" in files
        assert rf"\input{{tables/{name}}}" in files["main.tex"]
        assert rf"\label{{tab:{name}}}" in files[f"tables/{name}.tex"]
    for figure in document.figures:
        assert files[f"figures/{figure.id}.pdf"].startswith(b"%PDF")
        assert b"<svg" in files[f"figures/{figure.id}.svg"]
        assert f"{{figures/{figure.id}.pdf}}" in files["main.tex"]
    assert sorted(re.findall(r"\\input\{(.*?)\}", files["main.tex"])) == sorted(
        ["characters", "methods", "tables/tests", *(f"tables/{name}" for name in tables)]
    )
    assert json.loads(files["provenance.json"])[0]["provenance"] == dict(study.provenance)


def test_every_answer_and_finding_is_there(papers, study):
    for question in study.questions:
        for text in (question.answer, *(test.sentence() for test in question.tests)):
            assert escape(text) in papers["rich"]["main.tex"]
    assert "made up for demonstration" in papers["rich"]["main.tex"]
    assert papers["several"]["main.tex"].count("made up for demonstration") == 1  # the first of three


def test_equal_results_give_equal_files(papers, void):
    assert paper(build([void])) == paper(build([void]))
    assert all(not path.startswith(("/", ".")) and ".." not in path for path in papers["several"])


@pytest.mark.parametrize("name", ["rich", "several"])
def test_latex_is_balanced(papers, name):
    for path, content in papers[name].items():
        if path.endswith(".tex"):
            text = re.sub(r"\\[\\{}$%#&_]", "", content)
            assert text.count("{") == text.count("}"), path
            assert "$" not in text
            begun = re.findall(r"\\begin\{(\w+)\}", text)
            assert sorted(begun) == sorted(re.findall(r"\\end\{(\w+)\}", text)), path


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="pdflatex is not installed")
@pytest.mark.parametrize("name", ["rich", "several"])
def test_it_compiles_without_error_or_overfull_box(papers, name, tmp_path):
    for path, content in papers[name].items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(content if isinstance(content, bytes) else content.encode())
    for _ in range(2):
        command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "main.tex"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace")
        assert done.returncode == 0, done.stdout[-2000:]
    log = (tmp_path / "main.log").read_text(errors="replace")
    told = re.findall(r"(?m)^(?:Overfull|Missing character|.*undefined|.*too large).*$", log)
    assert told == []
