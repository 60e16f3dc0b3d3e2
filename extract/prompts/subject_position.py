"""Find the last token of the subject in a prompt, where a model is taken to look up the subject's facts.

Meng et al. 2022 (arXiv 2202.05262), §2, find that the MLPs recall facts at this position.
"""

from __future__ import annotations

from qloc.extract.prompts.tokenizing import Encoder, TokenizedQuery
from qloc.text.mentions import mentions


def subject_token(encoder: Encoder, asked: TokenizedQuery, subject: str) -> int | None:
    """Return the position of the subject's last token in what the model reads.

    The token is found by the tokenizer's character offsets. If the subject occurs several times, its last
    occurrence before the answer counts; in a masked model that has none, its last occurrence after the
    answer. Whole words are preferred to parts of words.

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
    int or None
        The position in the ids of the query's targets. None if the model does not read the subject, or if the
        subject and the answer share a token.
    """
    if not subject:
        return None
    query, masked = asked.query, encoder.family == "masked"
    until = _end(query.head, subject)
    if until is None and masked and (behind := _end(query.tail, subject)) is not None:
        until = len(query.head) + len(asked.answer) + behind
    if until is None:
        return None
    text = query.head + asked.answer + (query.tail if masked else "")
    spans = encoder.tokenizer(text, return_offsets_mapping=True)["offset_mapping"]
    tokens = [position for position, (start, stop) in enumerate(spans) if start < until <= stop]
    if not tokens:
        return None
    answer = {target.position for target in asked.targets}
    is_apart = tokens[-1] not in answer if masked else tokens[-1] < len(asked.targets[0].ids)
    return tokens[-1] if is_apart else None


def _end(text: str, subject: str) -> int | None:
    """Return the index behind the last mention of the subject, or None."""
    found = mentions(text, subject)
    return found[-1][1] if found else None
