"""Studies made by hand: a rich one, a hostile one, and one with nothing in it."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from qloc.analysis.results import EffectSize, Interval, Question, StudyResult, Table, TestResult
from qloc.reports.build import build
from qloc.reports.render import RENDERERS

RELATIONS = (
    "P36 capital",
    "P30 continent",
    "P37 language",
    "P38 currency",
    "P112 founder",
    "P159 seat",
    "P178 maker",
    "P106 profession",
    "P19 birthplace",
)
QL = "Chen et al. 2025. Knowledge Localization: Mission Not Accomplished? ICLR, arXiv:2405.14117."
KN = "Dai et al. 2022. Knowledge Neurons in Pretrained Transformers. ACL, arXiv:2104.08696."


def a_test(name: str = "H1a", **changes) -> TestResult:
    given = {
        "name": name,
        "question": "Do paraphrases of a fact share more neurons than their template explains?",
        "estimand": "κ, agreement of a fact's queries beyond chance",
        "unit": "fact",
        "n": {"relations": 9, "facts": 812, "queries": 6120},
        "estimate": 0.41234567,
        "interval": Interval(
            low=0.3811111, high=0.4422222, confidence=0.95, method="two-way cluster bootstrap, 1,999"
        ),
        "effect": EffectSize(
            name="matched rank-biserial",
            value=0.717171,
            interval=Interval(low=0.65, high=0.779, confidence=0.95, method="bootstrap"),
        ),
        "method": "permutation within relation × template, 999",
        "p": 0.001,
        "p_adjusted": 0.003,
        "role": "confirmatory",
        "verdict": "holds",
        "family": "confirmatory (Holm)",
        "checks": ("Facts asked by fewer than two templates are left out: 14.",),
        "seed": 7,
        "store": "sha256:0123abcd",
    }
    return TestResult(**{**given, **changes})


def table(name: str, title: str, note: str = "", labels=None, **columns) -> Table:
    return Table(name=name, title=title, columns=columns, labels=labels or {}, note=note)


def consistency() -> Question:
    kappa = (0.71, 0.64, 0.58, 0.52, 0.44, 0.41, 0.33, 0.25, 0.12)
    by_relation = table(
        "consistency_by_relation",
        "Agreement beyond chance, by relation",
        note="95% intervals over facts; κ is 0 where paraphrases agree no more than other facts' queries do.",
        labels={"kappa": "κ, other answers", "kappa_same_answer": "κ, same answer"},
        relation=RELATIONS,
        facts=(104, 98, 77, 91, 60, 88, 101, 97, 96),
        kappa=kappa,
        kappa_same_answer=tuple(k / 3 for k in kappa),
        kappa_low=tuple(k - 0.07 for k in kappa),
        kappa_high=tuple(k + 0.06 for k in kappa),
    )
    grid = tuple(n / 20 for n in range(1, 11))
    rules = [("cs2", "static", 0.1, None), ("cs2", "subsets", 0.1, 3), ("cs2", "otsu", 0.2731, None)]
    by_threshold = table(
        "ki_by_threshold",
        "Share of inconsistent facts, by threshold",
        labels={"ki": "share of facts", "threshold": "attribution threshold"},
        threshold=grid * 3,
        score=tuple(score for score, *_ in rules for _ in grid),
        rule=tuple(rule for _, rule, *_ in rules for _ in grid),
        score_threshold=tuple(at for _, _, at, _ in rules for _ in grid),
        k0=tuple(k0 for *_, k0 in rules for _ in grid),
        ki=tuple(t**1.4 for t in grid * 2) + tuple(t**0.8 for t in grid),
        low=tuple(0.05 if t == 0.2 else None for t in grid * 3),
        high=tuple(0.2 if t == 0.2 else None for t in grid * 3),
    )
    return Question(
        id="consistency",
        title="Do paraphrases of a fact lead to the same neurons?",
        answer="Partly: κ is 0.41, and 37% of facts are inconsistent at equal k, not 24% as published.",
        tests=(
            a_test(),
            a_test(
                "H1b",
                verdict="undecided",
                p=0.08,
                p_adjusted=0.16,
                estimate=0.03,
                question="Do they share more than their answer explains?",
                interval=Interval(low=-0.01, high=0.07, confidence=0.95, method="bootstrap"),
            ),
        ),
        tables=(by_relation, by_threshold),
        method="κ = (D − D₀)/(1 − D₀), where D = Σ c(c − 1) / ((k − 1) Σ c).\n\nIt shows no cause.",
        references=(QL, KN),
    )


def decomposition() -> Question:
    parts = table(
        "overlap_decomposition",
        "What overlaps: template, answer, fact",
        relation=RELATIONS * 3,
        part=("template",) * 9 + ("answer",) * 9 + ("fact",) * 9,
        overlap=(0.2,) * 9 + tuple(0.3 - n / 50 for n in range(9)) + tuple(0.05 + n / 60 for n in range(9)),
    )
    cells = [(query, neuron) for query in range(4) for neuron in range(10)]
    looks = table(
        "heatmap_typical",
        "Typical fact: France → Paris",
        row=tuple(f"Paraphrase {query} of France is" for query, _ in cells),
        column=tuple(f"L{neuron % 4}.N{100 + neuron}" for _, neuron in cells),
        value=tuple((query * neuron % 11) / 10 for query, neuron in cells),
        member=tuple((query * neuron % 11) > 2 for query, neuron in cells),
    )
    return Question(
        id="overlap",
        title="Is what they share the fact's, or its answer's, or its template's?",
        answer="Of the overlap above chance 72% is shared by answer and 9% by fact.",
        tests=(
            a_test(
                "H2",
                verdict="no relevant difference",
                margin=0.05,
                margin_unit="in Dice",
                p_equivalence=0.01,
                estimate=-0.02,
                p=0.61,
                p_adjusted=0.61,
                effect=None,
                question="Do facts with one answer have neurons of their own?",
            ),
        ),
        tables=(
            parts,
            looks,
        ),
        method="Subjects are permuted within relation × template × answer.",
        references=(KN,),
    )


def layers() -> Question:
    share = [math.exp(-((n - 8) ** 2) / 9) / 5 for n in range(12)]
    share += [math.exp(-((n - 6) ** 2) / 12) / 6 for n in range(12)]
    profile = table(
        "layer_profile",
        "Where the neurons lie",
        labels={"share": "share of a query's knowledge neurons"},
        group=("facts",) * 12 + ("minimal pairs",) * 12,
        layer=tuple(range(12)) * 2,
        share=tuple(share),
        low=tuple(0.9 * value for value in share),
        high=tuple(1.1 * value for value in share),
        neurons=(3.5,) * 24,
        facts=(812,) * 12 + (67,) * 12,
    )
    attributes = table(
        "by_attribute",
        "Agreement by attribute of the fact",
        attribute=("class",) * 3 + ("tokens",) * 2,
        level=("wide", "narrow", "conflict", "one", "several"),
        kappa=(0.6, 0.5, 0.2, 0.45, 0.38),
        kappa_low=(0.5, 0.4, 0.1, 0.4, 0.3),
        kappa_high=(0.7, 0.6, 0.3, 0.5, 0.45),
    )
    return Question(
        id="layers",
        title="Do facts and syntax lie in different layers?",
        answer="Facts peak at layer 8, syntax at layer 6.",
        tests=(
            a_test("L1", verdict="descriptive", role="descriptive", p=None, p_adjusted=None, interval=None),
            a_test(
                "L2",
                role="exploratory",
                verdict="holds",
                family="screen (Benjamini–Hochberg)",
                p=0.0004,
                p_adjusted=0.0008,
                question="Do the layer profiles differ?",
            ),
        ),
        tables=(
            profile,
            attributes,
            table(
                "rarefaction",
                "Inconsistent facts by number of paraphrases",
                k0=(2, 3, 4, 5, 6),
                facts=(812, 700, 650, 401, 12),
                ki_cs2=(0.6, 0.4, 0.3, 0.2, 0.1),
                ki_cs1=(0.2, 0.4, 0.6, 0.7, 0.8),
                mean_cs2=(0.12, 0.19, 0.23, 0.25, 0.26),
                mean_cs1=(0.12, 0.04, 0.02, 0.01, 0.005),
                dice=(0.214, 0.214, 0.218, 0.22, 0.219),
            ),
            table(
                "counts_by_relation",
                "Facts by relation",
                relation=RELATIONS,
                queries=(900, 800, 700, 600, 500, 400, 300, 200, 100),
                known=(850, 700, 650, 600, 420, 390, 30, 20, 10),
                one_to_one=(True,) + (False,) * 8,
            ),
            table(
                "consistency_overall",
                "Consistency, known queries and all",
                queries=("known",) * 3 + ("all",) * 3,
                score=("cs1", "cs2", "kappa") * 2,
                mean=(0.05, 0.6, 0.41, 0.04, 0.58, 0.4),
                low=(0.04, 0.5, 0.38, 0.03, 0.5, 0.37),
                high=(0.06, 0.7, 0.44, 0.05, 0.66, 0.43),
            ),
            table(
                "completeness_by_layer",
                "Completeness gap: share of queries over 0.05",
                method=("ig",) * 3,
                layer=(0, 1, 2),
                over=(0.04, 0.05, 0.06),
            ),
            table(
                "welch",
                "As published: consistent against inconsistent facts",
                note="Circular: descriptive only.",
                method=("ig", "amig"),
                t=(12.3456, 0.0000123),
                p=(0.00001, 0.04321),
            ),
        ),
    )


@pytest.fixture(scope="session")
def study() -> StudyResult:
    return StudyResult(
        title="embedded:causal on embedded facts",
        model="embedded:causal, a GPT-2 type of 4 layers × 512 neurons, trained on made-up text",
        facts="926 facts of 9 relations, each by 8 paraphrases",
        questions=(consistency(), decomposition(), layers()),
        provenance={
            "store": "sha256:0123abcd",
            "qloc": "0.1.0",
            "quadrature": "midpoint, 20 steps",
            "seed": "7",
        },
        counts={"facts asked": 926, "facts known": 812, "answer contained in subject": 41, "queries": 7408},
        plan={"model": "embedded:causal", "thresholds": [0.1, 0.2, 0.3], "seed": 7},
        synthetic=True,
        notes=("Facts with several objects count any of them as right.",),
    )


NASTY = (
    "<script>alert('x')</script> & \"q\" | `code` *b* _i_ $x^2$ 5% #1 \\alpha {y} ~ "
    "[l](javascript:x) {{ 7*7 }}"
)


@pytest.fixture(scope="session")
def hostile(study: StudyResult) -> StudyResult:
    """Every text that can come from outside says something it should not."""
    question = study.questions[0]
    relation = (NASTY, *RELATIONS[1:])
    tables = tuple(
        replace(
            one,
            title=NASTY,
            note=NASTY,
            columns={**one.columns, "relation": relation},
            labels={"kappa": NASTY, "kappa_same_answer": NASTY},
        )
        if "relation" in one.columns
        else one
        for one in question.tables
    )
    worse = replace(
        question,
        title=NASTY,
        answer=NASTY,
        method=NASTY,
        references=(NASTY,),
        tables=tables,
        tests=(a_test(NASTY, question=NASTY, estimand=NASTY, method=NASTY, checks=(NASTY,)),),
    )
    return replace(
        study,
        title=NASTY,
        model=NASTY,
        facts=NASTY,
        questions=(worse,),
        notes=(NASTY,),
        provenance={NASTY: NASTY},
        counts={NASTY: 3},
        plan={NASTY: NASTY},
    )


@pytest.fixture(scope="session")
def bare() -> StudyResult:
    """A study that asked nothing."""
    return StudyResult(
        title="nothing", model="none", facts="none", questions=(), provenance={}, counts={}, plan={}
    )


@pytest.fixture(scope="session")
def void(study: StudyResult) -> StudyResult:
    """Questions without figures: NaN, tables of no rows, no columns, nothing finite."""
    nan = math.nan
    lost = a_test(
        "N1",
        estimate=nan,
        p=nan,
        p_adjusted=None,
        verdict="not identified",
        n={},
        checks=(),
        effect=None,
        interval=Interval(low=nan, high=nan, confidence=0.95, method="bootstrap"),
    )
    tables = (
        table("consistency_by_relation", "No rows", relation=(), kappa=()),
        table("heatmap", "No columns"),
        table("ki_by_threshold", "All absent", threshold=(0.1, 0.2), ki=(None, None)),
        table("layer_profile", "One layer", layer=(0,), share=(1.0,)),
        table("rarefaction", "No axis", somewhere=("a", "b"), ki_cs2=(0.1, 0.2)),
        table(
            "by_attribute",
            "Absent here and there",
            attribute=("a", "a", "a"),
            level=("x", "y", "z"),
            kappa=(None, 0.1, 0.2),
        ),
    )
    empty = Question(id="empty", title="What is left?", answer="", tests=(lost,), tables=tables)
    return replace(
        study, questions=(empty, Question(id="none", title="Nothing at all?", answer="")), synthetic=False
    )


@pytest.fixture(scope="session")
def rendered(study, hostile, bare, void) -> dict[tuple[str, str], str]:
    """Format and study's name → text."""
    short = replace(study, questions=study.questions[:1])
    two = [short, replace(short, title="another", synthetic=False)]
    studies = {"rich": [study], "hostile": [hostile], "bare": [bare], "void": [void], "two": two}
    return {
        (format, name): RENDERERS[format](build(given))
        for format in RENDERERS
        for name, given in studies.items()
    }
