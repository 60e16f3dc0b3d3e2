"""Explorations: to JSON and back, and refused where a file is not one."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from qloc.errors import InputError
from qloc.exploration.exploration import FILE, Exploration, load
from qloc.exploration.explored_facts import ExploredFact, ExploredQuery

QUERY = ExploredQuery(
    prompt="The capital of France is [Y].",
    template=0,
    known=True,
    log_probability=-0.25,
    rank=1,
    neurons=(5, 2),
    strengths=(100, 40),
    candidates=(("Paris", 778),),
)
FACT = ExploredFact(
    id="f1",
    subject="France",
    relation="P36",
    object="Paris",
    inconsistent=False,
    scores=(0.5, None),
    queries=(QUERY,),
    columns=(2, 5),
    attribution=((40, 100),),
    activation=((0.5, None),),
    arms=((-1.25, -30.5),),
    edits=((None, 7, -1),),
    new_object="Rome",
)
EXPLORATION = Exploration(
    title="tiny on two facts",
    n_layers=2,
    n_neurons=4,
    rule="ig, threshold 0.2",
    cut=0.1,
    n_facts=1,
    choice="All 1 facts.",
    scores=("CS1", "CS2"),
    templates=("P36-1",),
    arms=("suppress, own",),
    edits=("update, own",),
    shared=((2, 1), (5, 1)),
    facts=(FACT,),
    words=(" Paris", "x"),
    tokens=((2, (0, 1), (1,)),),
    n_pairs=3,
    shared_by_pairs=((5, 2),),
    pairs=("p1",),
)


def test_what_is_saved_is_what_is_loaded(tmp_path: Path) -> None:
    assert EXPLORATION.save(tmp_path) == tmp_path / FILE
    assert load(tmp_path) == EXPLORATION


def test_a_file_of_before_there_were_tokens_is_read(tmp_path: Path) -> None:
    rows = EXPLORATION.rows()
    older = {name: value for name, value in rows.items() if name not in ("words", "tokens")} | {"format": 1}
    (tmp_path / FILE).write_text(json.dumps(older), encoding="utf-8")
    assert load(tmp_path) == replace(EXPLORATION, words=(), tokens=())


def test_a_file_of_before_pairs_stood_apart_is_read(tmp_path: Path) -> None:
    rows, new = EXPLORATION.rows(), ("n_pairs", "shared_by_pairs", "pairs")
    older = {name: value for name, value in rows.items() if name not in new} | {"format": 2}
    (tmp_path / FILE).write_text(json.dumps(older), encoding="utf-8")
    assert load(tmp_path) == replace(EXPLORATION, n_pairs=0, shared_by_pairs=(), pairs=())


def test_a_file_of_before_synapses_were_suppressed_is_read(tmp_path: Path) -> None:
    """Lists of facts and queries were shorter: what they hold is told by their names."""
    rows = EXPLORATION.rows()
    of_fact, of_query = rows["fact"][:-3], rows["query"][:-2]
    place = of_fact.index("queries")
    facts = [fact[: len(of_fact)] for fact in rows["facts"]]
    for fact in facts:
        fact[place] = [query[: len(of_query)] for query in fact[place]]
    older = {**rows, "format": 3, "fact": of_fact, "query": of_query, "facts": facts}
    (tmp_path / FILE).write_text(json.dumps(older), encoding="utf-8")
    assert load(tmp_path) == EXPLORATION


def test_lists_stand_in_the_order_of_their_names() -> None:
    rows = EXPLORATION.rows()
    fact = dict(zip(rows["fact"], rows["facts"][0], strict=True))
    assert fact["subject"] == "France"
    query = dict(zip(rows["query"], fact["queries"][0], strict=True))
    assert (query["prompt"], query["neurons"]) == ("The capital of France is [Y].", (5, 2))


def test_a_folder_may_have_none(tmp_path: Path) -> None:
    assert load(tmp_path) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "[" * 100_000,
        json.dumps({**EXPLORATION.rows(), "format": 5}),
        json.dumps({**EXPLORATION.rows(), "fact": ["id"]}),
        json.dumps({**EXPLORATION.rows(), "facts": [[1, 2]]}),
        json.dumps({**EXPLORATION.rows(), "more": 1}),
    ],
    ids=["empty", "list", "no format", "deep", "another format", "other names", "short rows", "unknown key"],
)
def test_what_is_no_exploration_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(InputError) as caught:
        load(tmp_path)
    assert str(caught.value) == (
        f"exploration is '{tmp_path}'; expected explorer.json of format 4, as `qloc analyze` writes it. "
        f"At {tmp_path / FILE}. Run `qloc analyze` again."
    )


def test_a_pipe_is_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / FILE)
    with pytest.raises(InputError, match=r"^exploration is "):
        load(tmp_path)
