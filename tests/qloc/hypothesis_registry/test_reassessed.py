"""H11 to H14: all of them have claims, are in the registry in this order, and can be confirmed."""

from __future__ import annotations

from qloc.hypothesis_registry.reassessed import REASSESSED
from qloc.hypothesis_registry.registry import CONFIRMABLE, REGISTRY


def test_they_are_the_last_of_the_registry_and_each_can_be_confirmed() -> None:
    names = [entry.name for entry in REASSESSED]
    assert names == list(REGISTRY)[-len(names) :]
    assert {name[:3] for name in names} == {"H11", "H12", "H13", "H14"}
    assert set(names) <= set(CONFIRMABLE)


def test_each_region_claims_something_else() -> None:
    for entry in REASSESSED:
        assert entry.claims is not None
        assert len({entry.claims.more, entry.claims.equal, entry.claims.less}) == 3
