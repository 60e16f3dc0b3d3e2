"""The notebooks of examples/ run as they stand, without torch, and say what their text promises."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

EXAMPLES = Path(__file__).parents[2] / "examples"
NO_TORCH = "import sys\nassert not {'torch', 'transformers'} & set(sys.modules)"


@pytest.fixture(scope="module")
def said() -> str:
    """All that the notebook prints."""
    notebook = nbformat.read(EXAMPLES / "new_hypothesis.ipynb", as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell(NO_TORCH))
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "".join(output.get("text") or output["data"]["text/plain"] for output in outputs)


def test_it_finds_what_was_planted_and_nothing_else(said: str) -> None:
    verdicts = re.findall(r"^(\w+): .*\. [✓✕≈?∅] ([A-Z][a-z ]+)", said, re.MULTILINE)
    of: dict[str, list[str]] = {}
    for name, verdict in verdicts:
        of.setdefault(name, []).append(verdict)
    assert of["log_frequency"] == ["No relevant difference"]
    assert of["depth"] == ["Holds"]
    assert of["H1b"] == ["Holds", "No relevant difference"]


def test_notebooks_are_short_and_kept_with_their_outputs_and_a_picture(said: str) -> None:
    for path in EXAMPLES.glob("*.ipynb"):
        cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
        lines = [line for cell in cells for line in cell.source.splitlines() if line.strip()]
        assert len(lines) <= 21, f"{path.name} has {len(lines)} lines of code"
        outputs = [output for cell in cells for output in cell.outputs]
        assert any("image/png" in output.get("data", {}) for output in outputs)
        told = "".join(output.get("text") or "" for output in outputs)
        verdicts = re.findall(r"[✓✕≈?∅] [A-Z][a-z ]+", told)
        assert verdicts == re.findall(r"[✓✕≈?∅] [A-Z][a-z ]+", said)[: len(verdicts)]
        assert len(verdicts) > 3
