"""What the phases after signals do."""

from __future__ import annotations

from qloc.phase_plan import EditPlan, RomePlan


def test_constants_of_an_edit_that_is_not_made_bear_on_nothing() -> None:
    """A store of the same sets from before there was ROME is still that of this plan."""
    assert "rome" in EditPlan().parameters()
    assert EditPlan(sets=("rome_identity",)).parameters()["rome"]["clamp"] == 4.0
    few = [EditPlan(sets=("own",), rome=RomePlan(clamp=clamp)).parameters() for clamp in (1.0, 2.0)]
    assert (
        few[0]
        == few[1]
        == {k: v for k, v in EditPlan(sets=("own",)).model_dump(mode="json").items() if k != "rome"}
    )
