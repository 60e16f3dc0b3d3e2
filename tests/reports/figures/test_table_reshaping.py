"""Tables made ready to be drawn: columns joined, rows put aside."""

import math

from qloc.analysis.results import Cell, Table
from qloc.reports.figures.table_reshaping import (
    by_rule,
    changes,
    drawable,
    edit_matrix,
    over_all_relations,
    ratios,
    specifications,
    where,
)


def a_table(**columns) -> Table:
    return Table(name="t", title="t", columns=columns)


def test_rows_with_nothing_to_draw_are_put_aside():
    table = a_table(name=("a", "b", "c"), x=(1.0, None, math.nan), y=(None, 2.0, None))
    assert drawable(table, ["x", "y"]).columns == {"name": ("a", "b"), "x": (1.0, None), "y": (None, 2.0)}


def test_rows_are_chosen_by_how_a_column_reads():
    table = a_table(k0=(2, 3, 2), value=(0.1, 0.2, 0.3))
    assert where(table, "k0", "2").columns == {"k0": (2, 2), "value": (0.1, 0.3)}


def test_a_rule_and_its_score_make_one_panel_each():
    columns = {
        "score": ("cs2", "cs2"),
        "rule": ("static", "otsu"),
        "score_threshold": (0.1, 0.4),
        "k0": (3, None),
    }
    table = by_rule(a_table(**columns))
    assert table.columns["panel"] == ("CS2 < 0.1", "CS2 by Otsu")
    assert table.columns["counted"] == ("in 3 queries", "as published")


def test_a_table_without_rules_stays_as_it_is():
    table = a_table(kappa=(0.1,))
    assert by_rule(table) == table


def test_edits_become_a_matrix_of_criteria():
    table = Table(
        name="edit_scores", title="", labels={"set": "set"},
        columns={
            "operation": ("update", "update", "erase"), "set": ("own_top", "rome", "own"),
            "reliability": (1.0, 0.5, None), "locality": (0.25, 0.75, 0.5), "nats": (0.1, 2.0, 0.0),
        },
    )  # fmt: skip
    matrix = edit_matrix(table)
    assert matrix.columns["edit"] == ("update, own, top b",) * 3 + ("update, ROME",) * 3
    assert matrix.columns["criterion"] == ("Reliability", "Locality", "Δ nats") * 2
    assert matrix.columns["value"] == (1.0, 0.25, 0.1, 0.5, 0.75, 2.0)


def test_choices_changes_and_ratios_are_named_in_one_column():
    multiverse = Table(
        name="multiverse", title="", columns={"choice": ("ig, all queries",), "threshold": (0.2,)}
    )
    assert specifications(multiverse).columns["specification"] == ("ig, all queries, t = 0.2",)
    effects = {"model": ("a", "b"), "operation": ("suppress",) * 2, "class": ("K_C", "K_I")}
    drawn = changes(Table(name="chen_probability", title="", columns=effects))
    assert drawn.columns["change"] == ("a, suppress, K_C", "b, suppress, K_I")


def test_ratios_stand_by_rule_and_k0_beside_them_once():
    rows: dict[str, tuple[Cell, ...]] = {
        "model": ("a",) * 5,
        "method": ("ig", "ig", "ig", "amig", "amig"),
        "score": ("CS1", "CS2", "CS2", "CS2", "CS2"),
        "threshold": ("Otsu", "Otsu", "0.1", "Otsu", "0.1"),
        "ratio": (0.9, 0.5, 0.1, 0.6, 0.2),
        "ki_k0": (0.01, 0.01, 0.01, 0.02, 0.02),
    }
    table = Table(name="chen_ratio", title="", columns=rows)
    shares = ratios(table).columns
    assert shares["sets"] == ("ig", "ig", "amig", "amig", "ig", "amig")
    assert shares["rule"] == ("CS2 by Otsu, as published", "CS2 < 0.1, as published") * 2 + ("K_I(k₀)",) * 2
    assert shares["counted"][3:5] == ("as published", "as many queries of every fact")
    assert shares["ki"] == (0.5, 0.1, 0.6, 0.2, 0.01, 0.02)
    alone = ratios(where(table, "method", "ig")).columns
    assert alone["sets"] == ("CS2 by Otsu, as published", "CS2 < 0.1, as published", "K_I(k₀)")
    assert "rule" not in alone


def test_a_decomposition_is_of_all_relations():
    parts = Table(
        name="t", title="", columns={"relation": ("All relations", "P36"), "part": ("fact", "fact")}
    )
    assert over_all_relations(parts).columns["relation"] == ("All relations",)
