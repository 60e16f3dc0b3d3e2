"""From results to a document: verdicts counted, tables as figures, ids."""

from __future__ import annotations

import dataclasses

import pytest

from qloc.errors import InputError
from qloc.reports import build as build_module
from qloc.reports.build import build
from qloc.reports.render import RENDERERS


def test_headline_counts_the_confirmatory_verdicts(study, bare, void):
    def headline(result):
        return build([result]).parts[0].summary.headline

    assert (
        headline(study)
        == "Of 3 confirmatory tests, 1 holds, 1 shows no relevant difference and 1 is undecided. 1 more is exploratory."
    )
    assert headline(void) == "Of 1 confirmatory test, 1 cannot be told."
    assert headline(bare) == "No test was made."
    only = dataclasses.replace(study.questions[2], tests=study.questions[2].tests[:1])
    assert (
        headline(dataclasses.replace(study, questions=(only,)))
        == "This study measures; it gives no verdicts."
    )


def test_every_table_that_can_be_drawn_is(study):
    kinds = {figure.source: figure.kind for figure in build([study]).figures}
    assert kinds == {
        "": "forest",
        "consistency_by_relation": "dots",
        "ki_by_threshold": "multiples",
        "overlap_decomposition": "stacked",
        "heatmap_typical": "heatmap",
        "layer_profile": "profile",
        "by_attribute": "multiples",
        "rarefaction": "multiples",
        "counts_by_relation": "bars",
        "consistency_overall": "dots",
        "completeness_by_layer": "profile",
    }


def test_figures_and_sections_have_ids_of_their_own(study):
    document = build([study, study])
    ids = [figure.id for figure in document.figures] + [
        s.id for part in document.parts for s in part.sections
    ]
    assert len(ids) == len(set(ids))


def test_no_results_are_refused():
    with pytest.raises(InputError) as raised:
        build([])
    assert str(raised.value) == (
        "results is []; expected at least one folder that `qloc analyze` wrote. At qloc report. "
        "Run `qloc analyze` first."
    )


def test_texts_do_not_act_on_whatever_shows_them(study):
    """ESC begins commands of a terminal, U+202E turns a line around; in every format they only look odd."""
    acts = "a\x1b[2J\u202eb"
    question = study.questions[0]
    table = question.tables[0]
    column, cells = next(iter(table.columns.items()))
    odd = dataclasses.replace(
        study,
        title=acts,
        facts=acts,
        notes=(acts,),
        provenance={acts: acts},
        plan={acts: [acts]},
        questions=(
            dataclasses.replace(
                question,
                answer=acts,
                tables=(dataclasses.replace(table, columns={**table.columns, column: (acts, *cells[1:])}),),
            ),
            *study.questions[1:],
        ),
    )
    for format, render in RENDERERS.items():
        text = render(build([odd]))
        assert not {"\x1b", "\u202e"} & set(text), format
        assert text.count("202e") > 5, format
    assert build([study]) == build([build_module._shown(study)])
