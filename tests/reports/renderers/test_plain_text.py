"""Results as plain text: tables with their intervals joined, comparisons, reproductions."""

from qloc.analysis.results import Question, StudyResult, Table
from qloc.reports.renderers.plain_text import comparison_text, reproduction_text, table_text

MODELS = Table(
    name="models",
    title="Models",
    columns={
        "model": ("gpt2", "bert"),
        "kappa": (0.25, None),
        "kappa_low": (-0.125, None),
        "kappa_high": (0.5, None),
        "facts": (1200, 3),
    },
)


def a_result(*questions: Question) -> StudyResult:
    return StudyResult(
        title="2 models",
        model="two",
        facts="facts (3 facts)",
        questions=questions,
        provenance={},
        counts={},
        plan={},
        notes=("A note.",),
    )


def test_intervals_are_joined_and_headings_short():
    assert table_text(MODELS).split("\n") == [
        "  model  κ                    facts",
        "  gpt2   0.250 [−0.12, 0.50]  1,200",
        "  bert   –                        3",
    ]


def test_a_comparison_shows_the_tables_of_models_and_the_notes():
    other = Table(name="more", title="More", columns={"x": (1,)})
    text = comparison_text(a_result(Question(id="models", title="?", answer="", tables=(MODELS, other))))
    assert text.startswith("2 models\n  facts (3 facts)\n\nModels\n")
    assert "More" not in text
    assert text.endswith("\n  A note.")


def test_a_reproduction_shows_every_table_with_how_it_was_made():
    question = Question(id="q", title="Table 1", answer="As published.", tables=(MODELS,), method="By hand.")
    text = reproduction_text(a_result(question))
    assert "\nTable 1\n  As published.\n\n  model" in text
    assert "  By hand." in text
