"""Train the tokenizer of the embedded models: byte-level BPE, with several tokens only for long names."""

from __future__ import annotations

import re

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from qloc.extract.embedded import Kind
from qloc.extract.embedded.training.corpus import Sentence

LONG = 11
"""Names of this many letters or more are left out of training, so that they take several tokens."""

_SPECIAL = {
    "causal": {"pad_token": "<pad>", "eos_token": "<eos>"},
    "masked": {"pad_token": "<pad>", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"},
}


def make_tokenizer(kind: Kind, sentences: list[Sentence]) -> PreTrainedTokenizerFast:
    """Train the tokenizer of one kind of model on the words of the training text, each counted once.

    It is trained on words instead of sentences, so that the name of a rarely seen fact is not cut into more
    tokens than another.

    Parameters
    ----------
    kind : {"causal", "masked"}
        Kind of model; decides the special tokens.
    sentences : list of Sentence
        The training text.

    Returns
    -------
    transformers.PreTrainedTokenizerFast
        The tokenizer.
    """
    tokenizer = Tokenizer(models.BPE())
    # With a space put before the first word, a name is the same token wherever it stands.
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    special = list(_SPECIAL[kind].values())
    trainer = trainers.BpeTrainer(
        vocab_size=20_000,
        min_frequency=1,
        special_tokens=special,
        show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )
    tokenizer.train_from_iterator(_words(sentences), trainer)
    if kind == "masked":
        ends = [(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
        tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=64, **_SPECIAL[kind])


def _words(sentences: list[Sentence]) -> list[str]:
    """Return the words of the text in alphabetical order, without long names."""
    words = {word for sentence in sentences for word in re.findall(r"\w+|[^\w\s]", sentence.text)}
    return sorted(word for word in words if not (word[0].isupper() and len(word) >= LONG))
