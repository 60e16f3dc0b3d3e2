"""Where a prompt names the subject: the token at which a model is taken to look the subject's facts up."""

from __future__ import annotations

import re

from qloc.extract.prompts.tokenizing import Encoder, TokenizedQuery


def subject_token(encoder: Encoder, asked: TokenizedQuery, subject: str) -> int | None:
    """Position of the subject's last token in what the model reads, found by the tokenizer's offsets.

    The subject is where it stands last before the answer, in masked models else where it stands last behind
    it; as a word if it is one there, else as a part of one.

    Returns
    -------
    The position in the targets' ids; None where the model does not read the subject, or not apart from the
    answer.
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
    tokens = [place for place, (start, stop) in enumerate(spans) if start < until <= stop]
    if not tokens:
        return None
    answer = {target.position for target in asked.targets}
    apart = tokens[-1] not in answer if masked else tokens[-1] < len(asked.targets[0].ids)
    return tokens[-1] if apart else None


def _end(text: str, subject: str) -> int | None:
    """Where the subject's last mention ends."""
    name = re.escape(subject)
    ends = [found.end() for found in re.finditer(rf"(?<!\w){name}(?!\w)", text)]
    ends = ends or [found.end() for found in re.finditer(name, text)]
    return ends[-1] if ends else None
