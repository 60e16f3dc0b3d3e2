"""Trace one query: every answer token's pass, every restoration, put together by role."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import expit, log_expit
from torch import Tensor

from qloc.arrays import Array, Floats, Ints
from qloc.extract.prompts.token_roles import TokenRoles
from qloc.extract.prompts.tokenizing import Target, TokenizedQuery
from qloc.extract.tracing.corruption import corrupted
from qloc.extract.tracing.restored_rows import TracingEngine, Windows
from qloc.extract.tracing.states import Prompts
from qloc.phase_plan import TokenRole


@dataclass(frozen=True, kw_only=True)
class TracedQuery:
    """What tracing one query gives, in log odds of the whole answer.

    Attributes
    ----------
    clean : float
        In the clean pass.
    corrupted : float64 ndarray, shape (corruption,)
        With nothing restored; NaN for a corruption that the query does not have.
    log_odds : float64 ndarray, shape (part, role, layer, corruption)
        With one position restored, mean over the role's tokens; NaN where it has none.
    probability : float64 ndarray, shape (part, role, layer, corruption)
        The same of the answer's probability.
    n_tokens : int64 ndarray, shape (role,)
        Tokens of each role.
    """

    clean: float
    corrupted: Floats
    log_odds: Floats
    probability: Floats
    n_tokens: Ints


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A continuation of a prompt, clean and with another subject.

    Attributes
    ----------
    clean : TokenizedQuery
        The query.
    other : TokenizedQuery or None
        The query with another subject, if there is one.
    roles : TokenRoles
        Roles of the query's tokens.
    """

    clean: TokenizedQuery
    other: TokenizedQuery | None
    roles: TokenRoles


def traced_query(
    engine: TracingEngine,
    asked: Asked,
    drawn: Array,
    names: Sequence[TokenRole],
    windows: Windows,
    bad: Asked | None = None,
) -> TracedQuery:
    """Trace one query.

    Parameters
    ----------
    engine : TracingEngine
        Runs restorations.
    asked : Asked
        The query; of a minimal pair, with its good form.
    drawn : float64 ndarray, shape (sample, subject token, embedding)
        The noise.
    names : sequence of str
        The roles that are restored, in the order of their axis.
    windows : Windows
        Parts and layers that are restored.
    bad : Asked or None
        Of a minimal pair, the same with its bad form, of as many tokens of each role.

    Returns
    -------
    TracedQuery
        Of the whole answer: log P is the sum over its tokens. Of a pair: log P(good) − log P(bad), the log
        odds that of both forms the good one is taken.
    """
    good, counts = _passes(engine, asked, drawn, names, windows)
    against = None if bad is None else _passes(engine, bad, drawn, names, windows)[0]
    clean, base, of_answer = (
        _answer_odds(own) if against is None else _pair_odds(own, against[place])
        for place, own in enumerate(good)
    )
    missing = len(drawn) + 1 - len(base)
    probability = expit(of_answer)
    return TracedQuery(
        clean=float(clean),
        corrupted=_padded(base, missing),
        log_odds=_padded(_by_role(of_answer, counts), missing),
        probability=_padded(_by_role(probability, counts), missing),
        n_tokens=counts,
    )


def _passes(
    engine: TracingEngine, asked: Asked, drawn: Array, names: Sequence[TokenRole], windows: Windows
) -> tuple[tuple[Floats, Floats, Floats], Ints]:
    """Return log odds of each answer token, clean, corrupted and restored, and the tokens of each role."""
    model, other, roles = engine.engine.model, asked.other, asked.roles

    def like(ids: Ints) -> Tensor:
        with torch.no_grad():
            embedded: Tensor = model.get_input_embeddings()(
                torch.as_tensor(ids, device=next(iter(model.parameters())).device)
            )
        return embedded

    clean, base, restored = [], [], []
    for number, target in enumerate(asked.clean.targets):
        places = _places(roles, target, names)
        every = np.array([place for of_role in places.values() for place in of_role], dtype=np.int64)
        ids, noise = corrupted(target, other.targets[number] if other else None, drawn, roles.subject, like)
        found = engine.trace(
            Prompts(ids=torch.tensor([target.ids], device=ids.device)),
            Prompts(ids=ids, noise=noise),
            every,
            (target.position, target.token),
            windows,
        )
        clean.append(found.clean)
        base.append(found.corrupted)
        restored.append(found.restored)
    counts = np.array([len(of_role) for of_role in places.values()])
    return (np.array(clean), np.stack(base), np.stack(restored)), counts


def _places(
    roles: TokenRoles, target: Target, names: Sequence[TokenRole]
) -> Mapping[TokenRole, tuple[int, ...]]:
    """Return the positions of each role in the pass of one answer token."""
    last = (target.position,) if roles.is_last_apart else ()
    return {name: last if name == "last_token" else roles.positions[name] for name in names}


def _answer_odds(of_tokens: Array) -> Floats:
    """Return log odds of whole answers from those of their tokens, (token, …).

    log P is Σ log P of the tokens; log(1 − P) is log(−expm1(log P)), exact where P is near 0 or 1.
    """
    if len(of_tokens) == 1:
        own: Floats = of_tokens[0]
        return own
    logs = log_expit(of_tokens).sum(0)
    odds: Floats = logs - np.log(-np.expm1(logs))
    return odds


def _pair_odds(good: Array, bad: Array) -> Floats:
    """Return log P(good) − log P(bad) from the log odds of their tokens, (token, …)."""
    odds: Floats = log_expit(good).sum(0) - log_expit(bad).sum(0)
    return odds


def _by_role(values: Floats, counts: Ints) -> Floats:
    """Average (part, position, layer, corruption) over the positions of each role; NaN where it has none."""
    ends = np.cumsum(counts)
    parts = [
        values[:, end - count : end].mean(1) if count else np.full(values[:, 0].shape, np.nan)
        for count, end in zip(counts.tolist(), ends.tolist(), strict=True)
    ]
    return np.stack(parts, 1)


def _padded(values: Floats, missing: int) -> Floats:
    """Append NaN for corruptions that the query does not have."""
    return np.concatenate([values, np.full((*values.shape[:-1], missing), np.nan)], -1)
