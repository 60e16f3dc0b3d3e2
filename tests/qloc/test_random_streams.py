"""Random streams: no two members share one, and keys that stores hold stay as they are."""

from itertools import combinations

import numpy as np

from qloc.random_streams import Stream


def first_numbers(generator):
    return generator.integers(2**63, size=4).tolist()


def test_no_two_streams_of_one_seed_are_the_same():
    """With nothing behind the stream, and with zeros, which numpy pads keys with."""
    drawn: dict[tuple[int, ...], set[Stream]] = {}
    for stream in Stream:
        for numbers in ((), (0,), (0, 0)):
            if stream.of == "study" or numbers:
                drawn.setdefault(tuple(first_numbers(stream.generator(7, *numbers))), set()).add(stream)
    assert all(len(streams) == 1 for streams in drawn.values())


def test_numbers_are_used_once_in_each_kind_of_key():
    for a, b in combinations(Stream, 2):
        assert (a.of, a.number) != (b.of, b.number)


def test_keys_are_those_that_stores_were_chosen_by():
    expected = np.random.default_rng([3, 70])
    assert first_numbers(Stream.OWN_AGAINST_MATCHED.generator(3)) == first_numbers(expected)
    expected = np.random.default_rng([3, 41, 12])
    assert first_numbers(Stream.HELD_OUT_QUERIES.generator(3, 41)) == first_numbers(expected)


def test_planted_edits_and_reprompts_are_drawn_apart():
    edits, reprompts = Stream.PLANTED_EDITS.generator(1), Stream.PLANTED_REPROMPTS.generator(1)
    assert first_numbers(edits) != first_numbers(reprompts)
