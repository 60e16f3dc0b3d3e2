"""Every pointer to a document leads somewhere: links and anchors in pages, in docstrings and in messages."""

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("extract", "store", "analysis", "reports", "src/qloc")
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "examples" / "README.md"])
MODULES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))

LINK = re.compile(r"\]\(([^)\s]+)\)")
POINTER = re.compile(r"docs/([a-z-]+\.md)(#[\w-]*\w)?")
SECTION = re.compile(r"\b[a-z-]+\.md,? (?:§|\"|section)")


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page: those that GitHub makes of its headings, and those it names itself."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    made = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
    return made | set(re.findall(r'<a id="([\w-]+)">', text))


def leads(page: Path, anchor: str) -> bool:
    """Return whether a page is there and has an anchor; "" asks for the page alone."""
    return page.exists() and (not anchor or anchor in anchors(page))


def test_what_leads_nowhere_is_seen():
    page = ROOT / "docs" / "methods.md"
    assert leads(page, "neuron-sets")
    assert not leads(page, "no-such-section")
    assert not leads(page.with_name("none.md"), "")


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_of_pages_lead_somewhere(page):
    targets = [target for target in LINK.findall(page.read_text(encoding="utf-8")) if "://" not in target]
    lost = []
    for target in targets:
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        if not (leads(there, anchor) if there.suffix == ".md" else there.exists()):
            lost.append(target)
    assert lost == []


def test_pointers_of_modules_lead_to_anchors():
    """In docstrings, comments and messages: `docs/methods.md#neuron-sets`, never a number of a section."""
    lost = []
    n = 0
    for path in MODULES:
        text = path.read_text(encoding="utf-8")
        for page, anchor in POINTER.findall(text):
            n += 1
            if not leads(ROOT / "docs" / page, anchor.removeprefix("#")):
                lost.append(f"{path.relative_to(ROOT)}: docs/{page}{anchor}")
        lost += [f"{path.relative_to(ROOT)}: {found}" for found in SECTION.findall(text)]
        bare = re.findall(r"(?<![\w/])(?:methods|statistics|store|extraction|reports)\.md\b", text)
        lost += [f"{path.relative_to(ROOT)}: {found} without docs/" for found in bare]
    assert lost == []
    assert n > 20


def test_every_module_and_file_that_a_page_names_is_there():
    """Paths of the tree, and dotted names of modules."""
    lost = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for name in re.findall(
            r"`((?:extract|store|analysis|reports|src/qloc|tests|benchmarks)/[\w./-]+)`", text
        ):
            if not (ROOT / name).exists() and "/x/" not in name:  # x/y.py stands for any module
                lost.append(f"{page.name}: {name}")
        for name in re.findall(
            r"`?(qloc\.(?:extract|store|analysis|reports|workflows|simulation|workers)[\w.]*)", text
        ):
            parts = name.rstrip(".").split(".")[1:]
            folder = ROOT if parts[0] in ROOMS else ROOT / "src" / "qloc"
            depth = next(
                (k for k in range(len(parts), 0, -1) if is_module(folder.joinpath(*parts[:k]))),
                0,
            )
            if depth < len(parts) - 2 or depth == 0:
                lost.append(f"{page.name}: {name}")
    assert lost == []


def is_module(path: Path) -> bool:
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


def test_the_pictures_of_the_report_are_up_to_date():
    picture = runpy.run_path(str(ROOT / "benchmarks" / "_report_picture.py"))
    kept = picture["DIGEST"].read_text(encoding="utf-8").strip()
    assert kept == picture["digest"](), "the report's top has changed: run `make picture`, and look at both"
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    named = re.findall(r"(?:srcset|src)=\"(docs/[^\"]+)\"", readme)
    assert sorted(named) == sorted(f"docs/report-{name}.png" for name in picture["SCHEMES"])
    for name in named:
        assert (ROOT / name).read_bytes().startswith(b"\x89PNG\r\n")
