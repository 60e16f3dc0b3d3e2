"""Which answer tokens of a query are attributed: its answer's, or those of a minimal pair's continuations.

The target of a minimal pair is the probability of its ``good`` continuation, of its ``bad`` one, or the
``contrast`` P(good) − P(bad). P of a continuation of several tokens is the mean over its tokens, each at its
own target position, so that the contrast is

    (1/n) Σ_j P(good_j | prompt, good_<j)  −  (1/n′) Σ_j P(bad_j | prompt, bad_<j)

whether or not n = n′. Where both have n tokens, tokens that are asked of the same prompt at the same position
share one pass, whose gradients are those of the difference; the others have passes of their own, and their
scores are added or subtracted. A fact that is no minimal pair keeps its answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from qloc.errors import InputError, message
from qloc.extract.prompts.tokenizing import Encoder, Target, TokenizedQuery
from qloc.facts import Fact, FactSet
from qloc.plan import AnswerTokens, PairTarget, Plan


@dataclass(frozen=True, kw_only=True)
class Attributed:
    """One pass that is attributed.

    Attributes
    ----------
    query : index of its query.
    number : the token of the query's answer that is predicted in this pass; -1 where it is none.
    weight : of its scores and gradients in the query's; negative for what is subtracted.
    share : of its activations in the query's; the shares of a query sum to one.
    """

    query: int
    target: Target
    number: int
    weight: float
    share: float


def attributed(
    asked: Sequence[TokenizedQuery],
    facts: Sequence[Fact],
    encoder: Encoder,
    answer_tokens: AnswerTokens,
    target: PairTarget,
) -> list[Attributed]:
    """Every pass that is attributed, queries in order.

    Parameters
    ----------
    facts : the fact of each query.
    """
    found = []
    for query, (one, fact) in enumerate(zip(asked, facts, strict=True)):
        good = _cut(one.targets, answer_tokens)
        bad: tuple[Target, ...] = ()
        if target != "good" and fact.bad is not None:
            other = encoder.ask(one.query, fact.bad, ignore_tail=True)
            bad = _cut(other.targets, answer_tokens) if isinstance(other, TokenizedQuery) else ()
        if not bad:
            found += [_one(query, t, good, 1 / len(good), 1 / len(good)) for t in good]
        elif target == "bad":
            found += [_one(query, t, good, 1 / len(bad), 1 / len(bad)) for t in bad]
        else:
            found += _contrast(query, good, bad)
    return found


def _cut(targets: tuple[Target, ...], answer_tokens: AnswerTokens) -> tuple[Target, ...]:
    return targets[:1] if answer_tokens == "first" else targets


def _contrast(query: int, good: tuple[Target, ...], bad: tuple[Target, ...]) -> list[Attributed]:
    paired = [
        replace(ours, against=theirs.token)
        for ours, theirs in zip(good, bad, strict=False)
        if len(good) == len(bad) and _same_pass(ours, theirs)
    ]
    n = len(paired)  # tokens of one prompt, then of prompts that have parted: those that pair come first
    found = [_one(query, t, good, 1 / len(good), 1 / len(good)) for t in paired]
    found += [_one(query, t, good, 1 / len(good), 0.5 / len(good)) for t in good[n:]]
    return found + [_one(query, t, good, -1 / len(bad), 0.5 / len(bad)) for t in bad[n:]]


def _one(query: int, target: Target, good: tuple[Target, ...], weight: float, share: float) -> Attributed:
    number = next((n for n, own in enumerate(good) if _same_pass(own, target)), -1)
    return Attributed(query=query, target=target, number=number, weight=weight, share=share)


def _same_pass(one: Target, other: Target) -> bool:
    return (one.ids, one.position) == (other.ids, other.position)


def refuse_contrast_of_facts(plan: Plan, facts: FactSet) -> None:
    """Refuse a target of minimal pairs where there are none.

    Raises
    ------
    InputError : ``bad`` or ``contrast``, and no minimal pair among the facts.
    """
    if plan.target != "good" and all(fact.bad is None for fact in facts.facts):
        rule = f"'good' where {plan.facts} holds no minimal pair, the only facts with a bad continuation"
        raise InputError(message("target", plan.target, rule, "qloc extract --target", "Leave it out"))
