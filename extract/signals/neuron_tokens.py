"""Tokens that neurons promote and suppress: the ends of the products of W_out rows with the output embedding.

A neuron adds its activation times its row of the down-projection to the hidden state. The product of that row
with a token's row of the output embedding says by how much it raises the token's logit, as far as the norms
and layers in between let it [1]_.

References
----------
.. [1] Geva et al. 2022, "Transformer feed-forward layers build predictions by promoting concepts in the
   vocabulary space", EMNLP.
"""

from __future__ import annotations

from typing import Any, Final
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qloc.arrays import Array
from qloc.extract.models.architectures import Sites, down_weight
from qloc.vocabulary import N_PLACES, NO_INDEX

MOST_NEURONS: Final = 4096
"""Neurons of a unit whose tokens are found: those that come nearest to their queries' maximum."""

_ROWS: Final = 256
_WORDS: Final = 8192
_SLACK: Final = 1e-6  # shares are rounded otherwise than panels compare


def vocabulary_of(sites: Sites) -> int:
    """Return how many tokens the rows of down-projections can be multiplied with.

    Parameters
    ----------
    sites : Sites
        The model's modules.

    Returns
    -------
    int
        Rows of the output embedding; 0 where its rows have another length than those of down-projections, or
        where weights are not in memory as plain numbers.
    """
    try:
        weights = [down_weight(module) for module in (sites.head, *sites.downs)]
    except (AttributeError, TypeError):
        return 0
    plain = all(weight.is_floating_point() and not weight.is_meta for weight in weights)
    fits = all(len(weight) == weights[0].shape[1] for weight in weights[1:])
    return len(weights[0]) if plain and fits else 0


def strongest(attribution: Array, floor: float) -> NDArray[np.int32]:
    """Return the neurons that reach the floor for a query of a unit under a method.

    Parameters
    ----------
    attribution : float ndarray, shape (attribution_method, query, layer, neuron)
        Attributions.
    floor : float
        Share of a query's maximum, in [0, 1).

    Returns
    -------
    int32 ndarray
        Neurons of the network, ascending; at most :data:`MOST_NEURONS`, those of the largest shares.

    Examples
    --------
    >>> strongest(np.array([1.0, 0.04, 0.3, -1.0]).reshape(1, 1, 2, 2), 0.05)
    array([0, 2], dtype=int32)
    """
    rows = attribution.reshape(-1, attribution.shape[-2] * attribution.shape[-1])
    share = np.zeros(rows.shape[1])
    for values in rows:
        maximum = float(values.max())
        if 0 < maximum < np.inf:
            np.fmax(share, values / maximum, out=share)
    reaching = np.flatnonzero((share > 0) & (share >= floor * (1 - _SLACK)))
    first = np.argsort(-share[reaching], kind="stable")[:MOST_NEURONS]
    return np.sort(reaching[first]).astype(np.int32)


def ends(sites: Sites, neurons: NDArray[np.int32], n_tokens: int) -> tuple[NDArray[np.int32], ...]:
    """Return the tokens that neurons promote, and those that they suppress.

    Vocabulary and neurons are cut into pieces of fixed size, so that the numbers depend on the neurons alone.

    Parameters
    ----------
    sites : Sites
        The model's modules.
    neurons : int32 ndarray, shape (neuron,)
        Neurons of the network, ascending.
    n_tokens : int
        Tokens that have a text: rows of the output embedding behind these stand for nothing.

    Returns
    -------
    tuple of two int32 ndarrays, shape (neuron, place)
        Ids of the tokens with the largest products, the largest first; and with the smallest, the smallest
        first. Of equal products the smaller id is first; -1 behind the last token.
    """
    words = down_weight(sites.head)[:n_tokens]
    wide = torch.promote_types(words.dtype, torch.float32)
    found = [np.full((2, 0, N_PLACES), NO_INDEX, np.int32)]
    with torch.inference_mode():
        for first in range(0, len(neurons), _ROWS):
            rows = _rows(sites, neurons[first : first + _ROWS]).to(words.device, wide)
            most, least = _Best(len(rows)), _Best(len(rows))
            for word in range(0, len(words), _WORDS):
                products = rows @ words[word : word + _WORDS].to(wide).T
                most.add(products, word)
                least.add(-products, word)
            found.append(np.stack([most.ids(), least.ids()]))
    promoted, suppressed = np.concatenate(found, axis=1)
    return promoted, suppressed


def _rows(sites: Sites, neurons: NDArray[np.int32]) -> Tensor:
    """Return rows of down-projections, shape (neuron, hidden), on the device of the output embedding."""
    layer, index = np.divmod(neurons, sites.n_neurons)
    parts = [
        down_weight(sites.downs[number])[:, torch.as_tensor(index[layer == number])].T.to(sites.device)
        for number in np.unique(layer)
    ]
    return torch.cat(parts)


class _Best:
    """The tokens with the largest values seen so far, of each row."""

    def __init__(self, n_rows: int) -> None:
        self.value = torch.empty((n_rows, 0))
        self.token = torch.empty((n_rows, 0), dtype=torch.int64)

    def add(self, values: Tensor, first: int) -> None:
        """Add the values of tokens from ``first`` on, shape (row, token)."""
        best = values.topk(min(N_PLACES, values.shape[1]), dim=1)
        value = torch.cat([self.value.to(values), best.values], 1)
        token = torch.cat([self.token.to(values.device), best.indices + first], 1)
        kept = value.topk(min(N_PLACES, value.shape[1]), dim=1)
        self.value, self.token = kept.values, token.gather(1, kept.indices)

    def ids(self) -> NDArray[np.int32]:
        """Return their ids, shape (row, place), the largest value first."""
        value, token = self.value.cpu().numpy(), self.token.cpu().numpy()
        ids = np.full((len(value), N_PLACES), NO_INDEX, np.int32)
        order = np.lexsort((token, -value), axis=1)
        ids[:, : token.shape[1]] = np.take_along_axis(token, order, axis=1)
        return ids


def token_texts(tokenizer: Any, tokens: NDArray[np.int32]) -> Array:
    """Return the text of each token, with the space that it begins with.

    Parameters
    ----------
    tokenizer : transformers.PreTrainedTokenizerBase
        The tokenizer.
    tokens : int32 ndarray, shape (token,)
        Ids.

    Returns
    -------
    object ndarray of str, shape (token,)
        Texts; a token that is a part of a letter's bytes has the replacement character, as decoding gives it.
    """
    known = _KNOWN.setdefault(tokenizer, {})  # each unit asks for most of the vocabulary again
    n_tokens = len(tokenizer)
    for token in tokens.tolist():
        if token not in known:
            known[token] = _text(tokenizer, token) if token < n_tokens else ""
    return np.array([*map(known.__getitem__, tokens.tolist()), None], dtype=object)[:-1]


_KNOWN: Final[WeakKeyDictionary[Any, dict[int, str]]] = WeakKeyDictionary()
"""Texts of tokens, by tokenizer."""


def _text(tokenizer: Any, token: int) -> str:
    """Return the text of a token; empty where the tokenizer has none of that id."""
    piece = tokenizer.convert_ids_to_tokens(token)
    if piece is None:
        return ""
    text = tokenizer.decode([token], clean_up_tokenization_spaces=False)
    space = " " if piece.startswith("▁") and not text.startswith(" ") else ""
    whole: str = (space + text).replace("\0", "\N{SYMBOL FOR NULL}")  # HDF5 knows no NUL in texts
    return whole


def neuron_tokens(
    sites: Sites, tokenizer: Any, attribution: Array, floor: float, others: Array
) -> dict[str, Array]:
    """Return :attr:`qloc.block.Block.tokens` of a unit.

    Parameters
    ----------
    sites : Sites
        The model's modules.
    tokenizer : transformers.PreTrainedTokenizerBase
        The tokenizer.
    attribution : float ndarray, shape (attribution_method, query, layer, neuron)
        The unit's attributions.
    floor : float
        Floor of the panels.
    others : int ndarray
        Ids of further tokens whose text is wanted; negative ones stand for none.

    Returns
    -------
    dict of str to ndarray
        The arrays; empty where :func:`vocabulary_of` is 0.
    """
    if not vocabulary_of(sites):
        return {}
    number = strongest(attribution, floor)
    promoted, suppressed = ends(sites, number, len(tokenizer))
    named = np.unique(np.concatenate([ids.ravel() for ids in (promoted, suppressed, np.asarray(others))]))
    token = named[named >= 0].astype(np.int32)
    return {
        "number": number,
        "promoted_token_id": promoted,
        "suppressed_token_id": suppressed,
        "token_id": token,
        "token": token_texts(tokenizer, token),
    }
