"""The roles that tokens of a prompt play in causal tracing: of the subject, behind it, or the target's.

See docs/methods.md#tracing. A token has one role. The subject's tokens come first; a subject of one token is
its last token. Tokens before the subject have none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qloc.extract.prompts.subject_position import subject_token
from qloc.extract.prompts.tokenizing import Encoder, TokenizedQuery
from qloc.phase_plan import TokenRole
from qloc.text.mentions import mentions


@dataclass(frozen=True, kw_only=True)
class TokenRoles:
    """Positions of a prompt by role, and those of the subject.

    Attributes
    ----------
    subject : tuple of int
        Positions of all tokens of the subject, wherever it is mentioned; they are corrupted together.
    positions : dict of str to tuple of int
        Positions of each role, of the subject's last mention; the target's own is not among them, since it is
        another one in the pass of each answer token.
    is_last_apart : bool
        Whether the target's position is no other role's: False where the prompt ends with the subject.
    """

    subject: tuple[int, ...]
    positions: Mapping[TokenRole, tuple[int, ...]]
    is_last_apart: bool


def token_roles(encoder: Encoder, asked: TokenizedQuery, subject: str) -> TokenRoles | None:
    """Return the roles of a prompt's tokens.

    Parameters
    ----------
    encoder : Encoder
        The model's tokenizer and family.
    asked : TokenizedQuery
        The query as this model reads it.
    subject : str
        The subject's text.

    Returns
    -------
    TokenRoles or None
        None where the model does not read the subject, or the subject and the answer share a token.
    """
    last = subject_token(encoder, asked, subject)
    if last is None:
        return None
    masked, query = encoder.family == "masked", asked.query
    text = query.head + asked.answer + (query.tail if masked else "")
    spans = encoder.tokenizer(text, return_offsets_mapping=True)["offset_mapping"]
    answer = {target.position for target in asked.targets}
    end = len(spans) if masked else len(asked.targets[0].ids)
    named = [_tokens(spans, span, end) for span in mentions(text, subject)]
    own = next((tokens for tokens in named if last in tokens), [last])
    every = sorted({token for tokens in [*named, own] for token in tokens})
    if masked and answer.intersection(every):
        return None
    target = asked.targets[0].position
    behind = [
        place
        for place in range(own[-1] + 1, end)
        if spans[place][1] > spans[place][0] and place not in {*answer, *every}
    ]
    positions: dict[TokenRole, tuple[int, ...]] = {
        "first_subject": tuple(own[:-1][:1]),
        "middle_subject": tuple(own[1:-1]),
        "last_subject": (own[-1],),
        "next_token": tuple(behind[:1]),
        "further_tokens": tuple(behind[1:]),
    }
    return TokenRoles(subject=tuple(every), positions=positions, is_last_apart=target not in every)


def _tokens(spans: list[tuple[int, int]], span: tuple[int, int], end: int) -> list[int]:
    """Return the tokens that overlap a span of characters, of those before position ``end``."""
    start, stop = span
    return [place for place, (a, b) in enumerate(spans[:end]) if b > a and max(a, start) < min(b, stop)]
