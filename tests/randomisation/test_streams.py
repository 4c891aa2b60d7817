"""Random words: the specified bytes, no modulo bias, no word too many."""

import hmac
from hashlib import sha256
from itertools import islice

import pytest

from rts.randomisation.streams import ListStreams, arrange, draw_below

SEED = bytes(range(32))
STREAMS = ListStreams(SEED, "rts/permuted-blocks/1", "SIRIUS-R1")


def high(value):
    return iter([value << 32])


def test_a_block_is_the_hmac_of_the_streams_name_and_the_counter():
    name = b"rts/permuted-blocks/1\x1fSIRIUS-R1\x1flow\x1forder"
    expected = [hmac.digest(SEED, name + b"\0" + bytes(7) + bytes([counter]), sha256) for counter in range(5)]

    assert list(islice(STREAMS.blocks("order", "low"), 5)) == expected


def test_a_block_holds_four_words_of_sixteen_hex_digits():
    first, second = islice(STREAMS.blocks("order"), 2)

    words = list(islice(STREAMS.words("order"), 8))

    assert "".join(f"{word:016x}" for word in words) == (first + second).hex()


def test_list_part_label_and_scheme_each_make_another_stream():
    starts = {
        next(STREAMS.blocks("order", "low")),
        next(STREAMS.blocks("order", "high")),
        next(STREAMS.blocks("sizes", "low")),
        next(ListStreams(SEED, "rts/permuted-blocks/1", "SIRIUS-R2").blocks("order", "low")),
        next(ListStreams(SEED, "rts/permuted-blocks/2", "SIRIUS-R1").blocks("order", "low")),
        next(ListStreams(bytes(32), "rts/permuted-blocks/1", "SIRIUS-R1").blocks("order", "low")),
    }
    assert len(starts) == 6


@pytest.mark.parametrize(
    ("k", "last_kept"),
    [(3, 4_294_967_294), (6, 4_294_967_291), (9_000, 4_294_961_999), (2**31 + 1, 2**31)],
)
def test_a_word_above_the_last_whole_multiple_is_passed_over(k, last_kept):
    assert (last_kept + 1) % k == 0
    words = iter([(last_kept + 1) << 32, (2**32 - 1) << 32, last_kept << 32, 1 << 32])

    assert list(draw_below(k, words)) == [k - 1, 1]


def test_the_low_half_of_a_word_does_not_matter():
    assert list(draw_below(10, iter([(7 << 32) | 0xFFFFFFFF]))) == [7]


@pytest.mark.parametrize("k", [1, 2, 2**31, 2**32])
def test_no_word_is_passed_over_for_a_power_of_two(k):
    assert list(draw_below(k, high(2**32 - 1))) == [k - 1]


@pytest.mark.parametrize("k", [0, -1, 2**32 + 1])
def test_draws_below_an_impossible_bound_are_an_error(k):
    with pytest.raises(ValueError, match="between 1 and"):
        next(draw_below(k, high(0)))


def test_slots_are_sorted_by_their_words_and_no_further_word_is_read():
    words = iter([5, 9, 1, 4, 77])

    assert arrange("abcd", words) == ["c", "d", "a", "b"]
    assert next(words) == 77


def test_slots_with_equal_words_keep_their_order():
    assert arrange("abcd", iter([2, 1, 2, 1])) == ["b", "d", "a", "c"]


def test_streams_never_print_their_seed():
    assert f"{STREAMS} {STREAMS!r} {[STREAMS]}" == "<sealed> <sealed> [<sealed>]"
