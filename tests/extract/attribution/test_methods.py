"""Which methods and sites a plan may name: rules of :mod:`qloc.methods` and :mod:`qloc.plan`."""

from __future__ import annotations

import pytest

from qloc.errors import InputError
from qloc.methods import BUILT_IN, register
from qloc.plan import plan_from


def test_adaptive_starts_with_eight_nodes_and_its_tolerance_is_in_the_fingerprint() -> None:
    assert plan_from(None, {"quadrature": "adaptive"}).steps == 8
    assert plan_from(None, {"quadrature": "adaptive", "steps": 5}).steps == 5
    assert plan_from(None, {"quadrature": "gauss"}).steps == 20
    adaptive = plan_from(None, {"quadrature": "adaptive"}).signal_parameters()
    assert adaptive["gap_tolerance"] == 0.002
    assert "gap_tolerance" not in plan_from().signal_parameters()


def test_qlocs_own_methods_are_not_replaced() -> None:
    for one in BUILT_IN:
        with pytest.raises(InputError, match="another name than those of qloc's own methods"):
            register(one.name, one.score)


@pytest.mark.parametrize("name", ["igg", "no_module:f", "math:nothing"])
def test_unknown_methods_are_refused_in_the_plan(name: str) -> None:
    with pytest.raises(InputError) as caught:
        plan_from(None, {"methods": f"ig,{name}"})
    (problem,) = caught.value.problems
    assert f"; {name!r} is none. At flag --methods. Correct it." in problem


def test_what_is_before_the_activation_is_not_intervened_on() -> None:
    with pytest.raises(InputError) as caught:
        plan_from(None, {"site": "mlp_pre", "phases": "signals,interventions"})
    assert caught.value.problems == (
        "phases is 'signals,interventions'; expected signals alone where site is mlp_pre: other phases change what "
        "mlp_post reads. At flag --phases. Correct it.",
    )
