"""docs/store.md says what the code does."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
import xarray as xr

from qloc.store.schema.phase_variables import (
    EDITS,
    ENTAILMENTS,
    INTERVENTIONS,
    REPROMPTS,
    STATISTICS,
    SYNAPSE_VIEWS,
    SYNAPSES,
    TRACING,
)
from qloc.store.schema.variables import ATTENTION, FACTS, GRAMS, NEURONS, QUERIES, SIGNALS, STORED

PAGE = Path(__file__).parents[3] / "docs" / "store.md"


def test_table_is_the_schema():
    shown = re.search(r"<!-- variables.*?-->\n(.*?)\n<!-- end -->", PAGE.read_text(encoding="utf-8"), re.S)
    assert shown is not None
    rows = ["| group | variable | dims | dtype | what it is |", "|---|---|---|---|---|"]
    signals = (*QUERIES, *FACTS, *SIGNALS["panel"], *ATTENTION, *GRAMS, *STATISTICS, *NEURONS)
    interventions = (*INTERVENTIONS, *SYNAPSES, *SYNAPSE_VIEWS, *REPROMPTS)
    for variable in (*signals, *interventions, *EDITS, *ENTAILMENTS, *TRACING):
        dtype = "float32 ¹" if variable.dtype == STORED else variable.dtype
        meaning = variable.meaning.replace("|", "\\|")
        rows.append(
            f"| {variable.group} | `{variable.name}` | {', '.join(variable.dims)} | {dtype} | {meaning} |"
        )
    assert shown[1].splitlines() == rows


def test_programs_run_as_shown(phased, tmp_path, monkeypatch, capsys):
    (tmp_path / "study.zarr").symlink_to(phased)
    monkeypatch.chdir(tmp_path)
    programs = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    assert len(programs) == 4
    for program in programs:
        names: dict[str, Any] = {"xr": xr}
        exec(program, names)
        if "layer" in names:
            panel = names["panel"]
            assert panel.dims == ("query", "slot")
            assert int(names["layer"].max()) == 2
            assert xr.where(panel >= 0, names["layer"] * 40 + names["index"], -1).equals(panel)
        if "words" in names:
            assert names["promoted"].dims == ("place",)
            assert len(names["words"]) == int((names["promoted"] >= 0).sum())
        if "effect" in names:
            assert names["effect"].dims == ("operation", "neuron_set", "query")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("change", [b"", b"x"])
def test_manifest_is_checked_as_the_page_says(copy, change):
    whole = json.loads((copy / "manifest.json").read_bytes())
    own = whole.pop("sha256")
    text = json.dumps(whole, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert (hashlib.sha256(text.encode() + change).hexdigest() == own) == (change == b"")
