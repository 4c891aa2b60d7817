"""Randomisation and kit numbers."""

from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rts.randomisation.numbers import check_digits, digits_for, draw_numbers, draw_salts, has_valid_check_digits
from rts.randomisation.streams import ListStreams

STREAMS = ListStreams(bytes(32), "scheme", "list")


def numbers(entries, prefix="R"):
    return draw_numbers(prefix, entries, STREAMS.words("numbers"))


def test_the_standards_example_has_its_check_digits():
    assert check_digits(794) == "44"


@pytest.mark.parametrize(
    ("entries", "digits"),
    [(1, 4), (900, 4), (901, 5), (9_000, 5), (9_001, 6), (1_000_000, 8), (9_000_001, 9), (90_000_000, 9)],
)
def test_at_most_one_number_in_ten_is_used(entries, digits):
    assert digits_for(entries) == digits


def test_more_entries_than_nine_digits_allow_are_an_error():
    with pytest.raises(ValueError, match="at most 90000000"):
        digits_for(90_000_001)


def test_a_value_already_drawn_is_skipped():
    words = iter([5 << 32, 5 << 32, 0 << 32, 5 << 32, 8_999 << 32, 1 << 32])

    assert draw_numbers("R", 3, words) == ["R1005" + check_digits(1005), "R1000" + check_digits(1000), "R999974"]


@given(entries=st.integers(1, 1500), prefix=st.from_regex(r"[A-Z]{1,3}", fullmatch=True))
def test_numbers_are_distinct_valid_and_of_one_length(entries, prefix):
    drawn = numbers(entries, prefix)

    assert len(drawn) == len(set(drawn)) == entries
    assert all(has_valid_check_digits(number) and number.startswith(prefix) for number in drawn)
    assert {len(number) for number in drawn} == {len(prefix) + digits_for(entries) + 2}


@given(value=st.integers(1000, 999_999_999), data=st.data())
def test_one_wrong_digit_or_two_swapped_neighbours_are_found(value, data):
    digits = f"{value}{check_digits(value)}"
    place = data.draw(st.integers(0, len(digits) - 2))
    other = data.draw(st.sampled_from([digit for digit in "0123456789" if digit != digits[place]]))
    mistyped = digits[:place] + other + digits[place + 1 :]
    swapped = digits[:place] + digits[place + 1] + digits[place] + digits[place + 2 :]

    assert has_valid_check_digits("R" + digits)
    assert not has_valid_check_digits("R" + mistyped)
    assert swapped == digits or not has_valid_check_digits("R" + swapped)


@pytest.mark.parametrize(
    "text",
    ["", "R", "432815", "r432815", "R4328", "RSTU432815", "R 432815", "R432815\n", "R43281\u0665", "R079444"],
)
def test_what_is_not_written_as_a_number_has_no_valid_check_digits(text):
    assert not has_valid_check_digits(text)


def test_check_digits_that_only_agree_by_remainder_are_wrong():
    assert has_valid_check_digits("R103597")
    assert 103597 % 97 == 103500 % 97
    assert not has_valid_check_digits("R103500")


@pytest.mark.parametrize("entries", [1, 2, 3, 8])
def test_salts_are_the_bytes_of_their_stream_sixteen_each(entries):
    stream = b"".join(islice(STREAMS.blocks("salts"), 4))

    salts = draw_salts(entries, STREAMS.blocks("salts"))

    assert salts == [stream[16 * i : 16 * i + 16] for i in range(entries)]
