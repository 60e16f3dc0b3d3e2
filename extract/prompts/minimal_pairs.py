"""Choose the answer tokens that are attributed: those of the answer, or of a minimal pair's continuations.

The target of a minimal pair is the probability of its ``good`` continuation, of its ``bad`` continuation, or
the ``contrast`` P(good) − P(bad). The probability of a continuation of several tokens is the mean over its
tokens, each at its own target position, so that the contrast is

    (1/n) Σ_j P(good_j | prompt, good_<j)  −  (1/n′) Σ_j P(bad_j | prompt, bad_<j)

for any n and n′. If both continuations have n tokens, two tokens that follow the same prompt at the same
position share one pass, whose gradients are those of the difference. The other tokens have passes of their
own, and their scores are added or subtracted. A fact that is not a minimal pair keeps its answer.
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
    query : int
        Index of the query that the pass belongs to.
    target : Target
        Token ids that the model reads, and the token whose probability is attributed.
    number : int
        Index of the predicted token within the query's answer; -1 if it is not a token of the answer.
    weight : float
        Weight of the pass's scores and gradients in those of the query; negative if they are subtracted.
    share : float
        Weight of the pass's activations in those of the query. The shares of a query sum to one.
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
    """Return every pass that is attributed, in the order of the queries.

    Parameters
    ----------
    asked : sequence of TokenizedQuery
        The queries as this model reads them.
    facts : sequence of Fact
        The fact of each query.
    encoder : Encoder
        Tokenizes the bad continuations of minimal pairs.
    answer_tokens : {"all", "first"}
        Whether all tokens of a continuation are attributed, or only its first.
    target : {"good", "bad", "contrast"}
        What is attributed for a minimal pair.

    Returns
    -------
    list of Attributed
        At least one pass for each query.
    """
    passes = []
    for query, (tokenized, fact) in enumerate(zip(asked, facts, strict=True)):
        good = _cut(tokenized.targets, answer_tokens)
        bad: tuple[Target, ...] = ()
        bad_answer = fact.bad_of(tokenized.query)
        if target != "good" and bad_answer is not None:
            bad_query = encoder.ask(tokenized.query, bad_answer, ignore_tail=True)
            bad = _cut(bad_query.targets, answer_tokens) if isinstance(bad_query, TokenizedQuery) else ()
        if not bad:
            passes += [_pass_of(query, token, good, 1 / len(good), 1 / len(good)) for token in good]
        elif target == "bad":
            passes += [_pass_of(query, token, good, 1 / len(bad), 1 / len(bad)) for token in bad]
        else:
            passes += _contrast(query, good, bad)
    return passes


def _cut(targets: tuple[Target, ...], answer_tokens: AnswerTokens) -> tuple[Target, ...]:
    return targets[:1] if answer_tokens == "first" else targets


def _contrast(query: int, good: tuple[Target, ...], bad: tuple[Target, ...]) -> list[Attributed]:
    paired = [
        replace(good_token, against=bad_token.token)
        for good_token, bad_token in zip(good, bad, strict=False)
        if len(good) == len(bad) and _same_pass(good_token, bad_token)
    ]
    n = len(paired)  # tokens of one prompt, then of prompts that have parted: those that pair come first
    passes = [_pass_of(query, token, good, 1 / len(good), 1 / len(good)) for token in paired]
    passes += [_pass_of(query, token, good, 1 / len(good), 0.5 / len(good)) for token in good[n:]]
    return passes + [_pass_of(query, token, good, -1 / len(bad), 0.5 / len(bad)) for token in bad[n:]]


def _pass_of(query: int, target: Target, good: tuple[Target, ...], weight: float, share: float) -> Attributed:
    number = next((n for n, good_token in enumerate(good) if _same_pass(good_token, target)), -1)
    return Attributed(query=query, target=target, number=number, weight=weight, share=share)


def _same_pass(target: Target, other: Target) -> bool:
    return (target.ids, target.position) == (other.ids, other.position)


def refuse_contrast_of_facts(plan: Plan, facts: FactSet) -> None:
    """Refuse a target that is defined for minimal pairs only, if the facts contain none.

    Parameters
    ----------
    plan : Plan
        The study's plan, with the target that the user chose.
    facts : FactSet
        The facts of the study.

    Raises
    ------
    InputError
        If the target is ``bad`` or ``contrast`` and no fact is a minimal pair.
    """
    if plan.target != "good" and all(fact.kind == "fact" for fact in facts.facts):
        rule = f"'good' where {plan.facts} holds no minimal pair, the only facts with a bad continuation"
        raise InputError(message("target", plan.target, rule, "qloc extract --target", "Leave it out"))
