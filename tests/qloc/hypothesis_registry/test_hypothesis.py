"""What is said of every hypothesis: claims that are clauses, and what accounts predict, which is claimed."""

from typing import get_args

from qloc.hypothesis_registry.hypothesis import ACCOUNTS, Claims, Direction, Phase, Region
from qloc.hypothesis_registry.registry import REGISTRY


def clauses(claims: Claims) -> list[str]:
    return [getattr(claims, region) for region in get_args(Region)]


def test_claims_are_clauses() -> None:
    """They stand after "that" in sentences of a report."""
    said = [
        clause for entry in REGISTRY.values() if entry.claims is not None for clause in clauses(entry.claims)
    ]
    assert len(said) == 3 * sum(entry.direction != "descriptive" for entry in REGISTRY.values())
    for clause in (*said, *ACCOUNTS.values()):
        assert clause[0].islower() or clause.startswith("ROME's "), clause
        assert clause[-1] not in ".?", clause


def test_every_account_predicts_regions_of_claims() -> None:
    predicted = [(*item, entry) for entry in REGISTRY.values() for item in entry.predicted.items()]
    assert {account for account, _, _ in predicted} == set(ACCOUNTS)
    assert all(entry.claims is not None for _, _, entry in predicted)
    assert {region for _, region, _ in predicted} <= {*get_args(Region)}


def test_directions_and_phases_are_those_of_the_types() -> None:
    assert {entry.direction for entry in REGISTRY.values()} == {*get_args(Direction)} - {"less"}
    assert {entry.phase for entry in REGISTRY.values()} == {*get_args(Phase)}
