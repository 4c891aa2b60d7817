"""The observer who does not know the block sizes drawn: exact for short sequences, near enough for long ones."""

from itertools import product
from math import perm, prod

import numpy as np
import pytest

from rts.randomisation.designs import observer
from rts.randomisation.designs.observer import can_be_foreseen, foresight_without_sizes


def entropy_of_all_sequences(block_sizes, ratio, n):
    """The entropy of the whole sequence of arms, from the probability of every single one."""
    sequences = np.array(list(product(range(len(ratio)), repeat=n)))
    counts = np.stack([np.cumsum(np.insert(sequences == arm, 0, 0, axis=1), axis=1) for arm in range(len(ratio))])
    begun = np.zeros((n + 1, len(sequences)))
    begun[0] = 1
    ended = np.zeros(len(sequences))
    for start in range(n):
        for size in block_sizes:
            slots = [size * weight // sum(ratio) for weight in ratio]
            end = min(start + size, n)
            chance = np.array(
                [
                    prod(perm(most, count) for most, count in zip(slots, in_block, strict=True))
                    / perm(size, end - start)
                    for in_block in (counts[:, :, end] - counts[:, :, start]).T.tolist()
                ]
            )
            chance *= begun[start] / len(block_sizes)
            if start + size <= n:
                begun[start + size] += chance
            else:
                ended += chance
    probabilities = begun[n] + ended
    assert probabilities.sum() == pytest.approx(1, abs=1e-12)
    return -sum(p * np.log(p) for p in probabilities if p > 0)


@pytest.mark.parametrize(
    ("block_sizes", "ratio", "n"),
    [
        ((4, 6), (1, 1), 14),
        ((2, 4, 6), (1, 1), 13),
        ((4, 8), (1, 1), 14),
        ((3, 6, 9), (2, 1), 13),
        ((3, 6), (1, 1, 1), 8),
    ],
)
def test_the_entropies_of_the_allocations_add_up_to_that_of_the_sequence(block_sizes, ratio, n):
    found = foresight_without_sizes(block_sizes, ratio, n)

    assert found.entropy.sum() == pytest.approx(entropy_of_all_sequences(block_sizes, ratio, n), rel=0, abs=1e-12)


def test_what_is_foreseen_of_an_allocation_does_not_depend_on_how_many_follow():
    short, long = foresight_without_sizes((4, 6), (1, 1), 17), foresight_without_sizes((4, 6), (1, 1), 40)

    for name in ("guessed", "certain", "entropy"):
        assert getattr(short, name) == pytest.approx(getattr(long, name)[:17], rel=0, abs=1e-14)


@pytest.mark.parametrize(
    ("block_sizes", "ratio", "off"),
    [((4, 6, 8), (1, 1), 1e-12), ((6, 9, 12), (1, 1, 1), 1e-12), ((6, 9, 12), (2, 1), 1e-7)],
)
def test_joining_beliefs_loses_next_to_nothing(monkeypatch, block_sizes, ratio, off):
    followed = foresight_without_sizes(block_sizes, ratio, 60)
    monkeypatch.setattr(observer, "_MOST_BELIEFS", 500)

    joined = foresight_without_sizes(block_sizes, ratio, 60)

    assert not np.array_equal(joined.entropy, followed.entropy)
    assert joined.entropy == pytest.approx(followed.entropy, rel=0, abs=1e-9)
    assert joined.guessed == pytest.approx(followed.guessed, rel=0, abs=off)
    assert joined.certain == pytest.approx(followed.certain, rel=0, abs=1e-12)


def test_all_sizes_up_to_the_longest_foreseen_can_be_followed():
    found = foresight_without_sizes(tuple(range(2, 21, 2)), (1, 1), 50)

    assert np.all(found.guessed >= 0.5 - 1e-12)
    assert found.certain.max() < 0.01


def test_a_steady_state_is_carried_on_unchanged(monkeypatch):
    settled = foresight_without_sizes((2, 4, 6), (1, 1), 300)
    monkeypatch.setattr(observer, "_SETTLED", 0)

    followed = foresight_without_sizes((2, 4, 6), (1, 1), 300)

    for name in ("guessed", "certain", "entropy"):
        assert getattr(settled, name) == pytest.approx(getattr(followed, name), rel=0, abs=1e-11)


def test_usual_block_sizes_can_be_foreseen_and_very_long_blocks_cannot():
    assert can_be_foreseen((4, 20), (1, 1))
    assert can_be_foreseen((8, 24), (1, 1, 1, 1))
    assert can_be_foreseen((12, 18, 24), (3, 2, 1))
    assert not can_be_foreseen((4, 22), (1, 1))
    assert not can_be_foreseen((8, 28), (1, 1, 1, 1))
