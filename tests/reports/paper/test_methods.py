"""Methods and references: whatever is cited is in the bibliography, once."""

from __future__ import annotations

import re

from qloc.references import SOFTWARE, cited
from qloc.reports.build import build
from qloc.reports.paper.methods import bibliography, cite, methods, printed_bibliography


def test_a_citation_has_its_place():
    assert cite(cited("dai2022", where="§4")[0]) == r"\cite[{§4}]{dai2022}"
    assert cite(cited("dai2022")[0]) == r"\cite{dai2022}"
    assert cite("Somebody. Elsewhere.") == r"\cite{source-SomebodyElsewhere}"


def test_whatever_is_cited_is_in_both_bibliographies(study, hostile):
    for document in (build([study]), build([hostile])):
        text = methods(document)
        keys = set(re.findall(r"\\cite(?:\[[^\]]*\])?\{([^}]*)\}", text))
        assert keys >= {"qloc", *SOFTWARE}
        assert keys == set(re.findall(r"(?m)^@\w+\{(.*),$", bibliography(document)))
        assert keys == set(re.findall(r"\\bibitem\{([^}]*)\}", printed_bibliography(document)))


def test_methods_say_what_was_asked_and_how(study):
    text = methods(build([study]))
    assert "facts asked: 926; facts known: 812" in text
    assert r"It shows no cause." in text
    assert text.count(r"\paragraph{Do paraphrases of a fact lead to the same neurons?}") == 1
