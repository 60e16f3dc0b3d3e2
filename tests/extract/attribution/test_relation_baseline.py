"""The mean activation over a relation's other facts, prompt by prompt, and what cannot have one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from qloc.errors import InputError
from qloc.extract.signals.extraction import Extraction


@pytest.mark.parametrize("kind", ["gpt2", "bert"])
def test_each_fact_starts_at_the_mean_of_the_others(
    study: Callable[..., Extraction], usual: Any, close: Any, kind: str
) -> None:
    made = study(kind)
    found = made.relations.of_facts([2, 0, 2])
    for row, fact in enumerate((2, 0, 2)):
        close(found[row], usual(made, fact))
    assert not np.allclose(found[0], found[1])


def test_certified_attributions_add_up_to_the_change_from_the_mean(
    study: Callable[..., Extraction], usual: Any, plain: Any
) -> None:
    made = study("llama", methods="ig_mean", quadrature="certified", steps=4, answer_tokens="first")
    block = made.extract(made.outline.units[0])
    assert (block.converged == 1).all()
    n_first = len(made.asking.asked[0])
    first = made.relations.of_facts([1])[0]  # of the first tokens alone, as the activations stored
    target = made.asking.asked[1][0].targets[0]
    prompt = plain(made.loaded.model, list(made.loaded.sites.downs), target)
    added = block.attribution[0, n_first].sum(1)
    size = np.abs(block.attribution[0, n_first]).sum(1)
    assert (np.abs(added - prompt.changes(first).numpy()) < 1e-3 * size).all()
    assert (block.completeness_gap < 1e-2).all()


def test_a_fact_alone_in_its_relation_is_refused(
    tiny: Callable[[str], Any], fresh_study: Callable[..., Extraction]
) -> None:
    facts = tiny("gpt2").facts
    lone = replace(facts, facts=(*facts.facts[:2], replace(facts.facts[2], relation="other")))
    assert fresh_study("gpt2", lone, methods="ig").asking.asked
    with pytest.raises(InputError) as caught:
        _ = fresh_study("gpt2", lone, methods="ig,ig_mean").asking
    assert str(caught.value) == (
        "fact is 'f2'; expected one with other facts of its relation, whose mean activation ig_mean starts from. "
        "At facts, relation other. Leave it out, or this method."
    )
