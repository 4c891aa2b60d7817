"""What a second statistician looks at before approving a list: counts, ratio by block, duplicates, gaps, longest run.

The checks read the entries alone and know nothing of seed and streams, so they also judge a list made elsewhere. All
results are for unblinded eyes and print themselves as `<sealed>`.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import gcd

from rts.randomisation.kit_list import KitEntry
from rts.randomisation.numbers import has_valid_check_digits
from rts.randomisation.procedures import probability_of_first
from rts.randomisation.subject_list import Entry
from rts.refusal import Message, say
from rts.trial.procedures import (
    Conditional,
    Minimisation,
    PermutedBlocks,
    Procedure,
    RandomAllocationRule,
    check_for_list,
)
from rts.trial.secrecy import NeverPrinted


@dataclass(frozen=True, slots=True, repr=False)
class Finding(NeverPrinted):
    """One thing that is wrong: a stable code, the sentence, and the stratum it concerns (empty: the whole list)."""

    rule: str
    message: Message
    stratum: str = ""


@dataclass(frozen=True, slots=True, repr=False)
class SequenceFigures(NeverPrinted):
    """Figures of one stratum, or of a kit list in packaging order (empty stratum).

    `counts` are (arm or kit type code, entries) in definition order; a run is a sequence of neighbouring entries with
    one code, as long as it goes (Wald & Wolfowitz 1940): `runs` is how many there are, `longest_run` the entries of the
    longest.
    """

    stratum: str
    entries: int
    counts: tuple[tuple[str, int], ...]
    runs: int
    longest_run: int


@dataclass(frozen=True, slots=True, repr=False)
class ListQuality(NeverPrinted):
    """The figures to read, and what is wrong: no findings means that every check passed."""

    figures: tuple[SequenceFigures, ...]
    findings: tuple[Finding, ...]


def judge_subject_list(
    entries: Sequence[Entry],
    *,
    prefix: str,
    strata: Sequence[str],
    arms: Sequence[tuple[str, int]],
    procedure: Procedure,
    length: int,
) -> ListQuality:
    """Judge `entries` against the specification: `arms` are (code, ratio weight), `length` is that of each stratum."""
    sequences = _by_stratum(entries, strata)
    findings = [*_judge_numbers([e.number for e in entries], prefix), *_judge_places(entries, sequences)]
    codes = [] if isinstance(procedure, Minimisation) else [code for code, _ in arms]
    for stratum, sequence in sequences.items():
        if len(sequence) != length:
            message = say("%(found)s entries instead of %(length)s", found=len(sequence), length=length)
            findings.append(Finding("quality.length", message, stratum))
        findings += _judge_procedure([e.arm for e in sequence], arms, procedure, length, stratum)
    return ListQuality(_figures_by_stratum(sequences, codes), tuple(findings))


def judge_imported_list(
    entries: Sequence[Entry],
    *,
    prefix: str,
    strata: Sequence[str],
    arms: Sequence[tuple[str, int]],
    procedure: Procedure,
    length: int,
    has_check_digits: bool,
) -> ListQuality:
    """Judge a list that was made elsewhere against the specification: `length` is the least of each stratum, and the
    procedure must be able to have made each at the length it has.

    `arms` are (code, ratio weight); `has_check_digits` says whether the numbers carry check digits as those made here.
    """
    sequences = _by_stratum(entries, strata)
    findings = [
        *_judge_numbers([e.number for e in entries], prefix, has_check_digits=has_check_digits),
        *_judge_places(entries, sequences),
        *_judge_whether_numbers_tell(entries),
    ]
    for stratum, sequence in sequences.items():
        if len(sequence) < length:
            message = say("%(found)s entries, fewer than %(length)s", found=len(sequence), length=length)
            findings.append(Finding("quality.length", message, stratum))
        unfit = list(check_for_list(procedure, [weight for _, weight in arms], len(sequence)))
        findings += [Finding("quality.length", failed.message, stratum) for failed in unfit]
        if sequence and not unfit:
            findings += _judge_procedure([e.arm for e in sequence], arms, procedure, len(sequence), stratum)
    return ListQuality(_figures_by_stratum(sequences, [code for code, _ in arms]), tuple(findings))


def judge_kit_list(entries: Sequence[KitEntry], *, prefix: str, kit_types: Sequence[tuple[str, int]]) -> ListQuality:
    """Judge kits against the specification: `kit_types` are (code, quantity)."""
    codes = [code for code, _ in kit_types]
    in_order = sorted(entries, key=lambda kit: kit.position)
    found = Counter(kit.kit_type for kit in entries)
    findings = [
        *_judge_numbers([kit.number for kit in entries], prefix),
        *_judge_count_from_one("position", [kit.position for kit in entries]),
        *_judge_count_from_one("pick rank", [kit.rank for kit in entries]),
        *_judge_codes([kit.kit_type for kit in entries], codes),
    ]
    for place, (code, quantity) in enumerate(kit_types, start=1):
        if found[code] != quantity:
            # The type is named by its place: a message can end up in a log, where no code may stand.
            message = say(
                "kit type %(place)s of the definition: %(found)s kits instead of %(quantity)s",
                place=place,
                found=found[code],
                quantity=quantity,
            )
            findings.append(Finding("quality.quantity", message))
    return ListQuality((_figures("", [kit.kit_type for kit in in_order], codes),), tuple(findings))


def _by_stratum(entries: Iterable[Entry], strata: Sequence[str]) -> dict[str, list[Entry]]:
    """The entries of each stratum by position; those of other strata are left out."""
    sequences: dict[str, list[Entry]] = {stratum: [] for stratum in strata}
    for entry in sorted(entries, key=lambda entry: entry.position):
        if entry.stratum in sequences:
            sequences[entry.stratum].append(entry)
    return sequences


def _figures_by_stratum(sequences: Mapping[str, Sequence[Entry]], codes: Sequence[str]) -> tuple[SequenceFigures, ...]:
    return tuple(_figures(stratum, [e.arm for e in sequence], codes) for stratum, sequence in sequences.items())


def _figures(stratum: str, sequence: Sequence[str], codes: Sequence[str]) -> SequenceFigures:
    counts = Counter(sequence)
    runs = [len(list(run)) for _, run in groupby(sequence)]
    return SequenceFigures(
        stratum, len(sequence), tuple((code, counts[code]) for code in codes), len(runs), max(runs, default=0)
    )


def imbalances(sequence: Iterable[str], arms: Sequence[tuple[str, int]]) -> Iterator[float]:
    """The imbalance after each entry of a stratum; `arms` are (code, ratio weight).

    For two arms 1:1 the entries of the first less those of the second; for others the largest count less the smallest,
    each divided by the arm's weight, weights without a common factor (as the measures of designs have it). A code that
    is none of the arms' changes nothing.
    """
    common = gcd(*(weight for _, weight in arms))
    weights = {code: weight // common for code, weight in arms}
    is_signed = list(weights.values()) == [1, 1]
    counts = dict.fromkeys(weights, 0)
    for arm in sequence:
        if arm in counts:
            counts[arm] += 1
        shares = [counts[code] / weight for code, weight in weights.items()]
        yield shares[0] - shares[1] if is_signed else max(shares) - min(shares)


def _judge_places(entries: Sequence[Entry], sequences: Mapping[str, Sequence[Entry]]) -> Iterator[Finding]:
    strangers = len(entries) - sum(map(len, sequences.values()))
    if strangers:
        message = say("%(count)s entries stand in no stratum of the definition", count=strangers)
        yield Finding("quality.stratum", message)
    for stratum, sequence in sequences.items():
        yield from _judge_count_from_one("position", [e.position for e in sequence], stratum)


def _judge_procedure(
    sequence: Sequence[str], arms: Sequence[tuple[str, int]], procedure: Procedure, length: int, stratum: str
) -> Iterator[Finding]:
    """Whether the procedure can have made one stratum: `sequence` are its arms, or words, by position."""
    codes = [code for code, _ in arms]
    match procedure:
        case Minimisation():
            yield from _judge_words(sequence, stratum)
            return
        case PermutedBlocks(block_sizes):
            is_possible = _is_made_of_blocks(sequence, arms, block_sizes)
        case RandomAllocationRule():
            is_possible = _is_made_of_blocks(sequence, arms, (length,))
        case conditional:
            position = _first_impossible(sequence, codes, conditional, length)
            if position is not None:
                message = say("the procedure cannot have made entry %(position)s of this stratum", position=position)
                yield Finding("quality.procedure", message, stratum)
            is_possible = True
    yield from _judge_codes(sequence, codes, stratum)
    if not is_possible:
        message = say("no succession of complete blocks in the ratio, the last one cut, makes this stratum")
        yield Finding("quality.blocks", message, stratum)


def _judge_numbers(numbers: Sequence[str], prefix: str, *, has_check_digits: bool = True) -> Iterator[Finding]:
    for number, times in Counter(numbers).items():
        if times > 1:
            message = say("number %(number)s is given %(times)s times", number=number, times=times)
            yield Finding("quality.number.duplicate", message)
        if has_check_digits and not has_valid_check_digits(number):
            yield Finding("quality.number.check_digits", say("number %(number)s: wrong check digits", number=number))
        if number.rstrip("0123456789") != prefix:
            message = say("number %(number)s: the prefix is not %(prefix)s", number=number, prefix=prefix)
            yield Finding("quality.number.prefix", message)


def _judge_count_from_one(name: str, values: Sequence[int], stratum: str = "") -> Iterator[Finding]:
    times = Counter(values)
    rule = name.replace(" ", "_")
    for value, count in sorted(times.items()):
        if count > 1:
            message = say("%(name)s %(value)s is given %(times)s times", name=name, value=value, times=count)
            yield Finding(f"quality.{rule}.duplicate", message, stratum)
    for value in range(1, max(times, default=0)):
        if value not in times:
            yield Finding(f"quality.{rule}.gap", say("%(name)s %(value)s is missing", name=name, value=value), stratum)


def _judge_codes(found: Iterable[str], codes: Collection[str], stratum: str = "") -> Iterator[Finding]:
    strangers = sum(1 for code in found if code not in codes)
    if strangers:
        message = say("%(count)s entries have a code that the definition does not know", count=strangers)
        yield Finding("quality.code", message, stratum)


_WORD = re.compile(r"[0-9a-f]{16}")


def _judge_words(words: Sequence[str], stratum: str) -> Iterator[Finding]:
    malformed = sum(1 for word in words if not _WORD.fullmatch(word))
    if malformed:
        message = say("%(count)s words are not 16 hex digits", count=malformed)
        yield Finding("quality.word", message, stratum)
    repeated = len(words) - len(set(words))
    if repeated:
        # By chance not once in a thousand of the longest tapes: a stream was read twice.
        message = say("%(count)s words are equal to another", count=repeated)
        yield Finding("quality.word.duplicate", message, stratum)


FEWEST_OF_AN_ARM = 15
"""With fewer entries of an arm, numbers can seem to tell it by chance; from here on not once in ten thousand lists."""


def _judge_whether_numbers_tell(entries: Sequence[Entry]) -> Iterator[Finding]:
    """Numbers made elsewhere may show the arm to whoever sees two of them: by their size, or by one of their digits."""
    times = Counter(entry.arm for entry in entries)
    if len(times) < 2 or min(times.values()) < FEWEST_OF_AN_ARM:
        return
    by_size = sorted(entries, key=lambda entry: (len(entry.number), entry.number))
    if len(list(groupby(entry.arm for entry in by_size))) == len(times):
        yield Finding("quality.number.tells_arm", say("the arms stand apart when the entries are sorted by number"))
    for place in range(1, min(len(entry.number) for entry in entries) + 1):
        arms_of_digit: defaultdict[str, set[str]] = defaultdict(set)
        for entry in entries:
            arms_of_digit[entry.number[-place]].add(entry.arm)
        if len(arms_of_digit) > 1 and all(len(arms) == 1 for arms in arms_of_digit.values()):
            message = say("digit %(place)s of the numbers, from their end, tells the arm", place=place)
            yield Finding("quality.number.tells_arm", message)


def _first_impossible(sequence: Sequence[str], codes: Sequence[str], procedure: Conditional, length: int) -> int | None:
    """The position (from 1) of the first entry that had no chance after the entries before it; None when all had."""
    first, second = codes
    so_far = dict.fromkeys(codes, 0)
    for position, arm in enumerate(sequence[:length], start=1):
        of_first = probability_of_first(procedure, so_far[first], so_far[second], length)
        chance = {first: of_first, second: 1 - of_first}.get(arm, 0)
        if chance == 0:
            return position
        so_far[arm] += 1
    return None


def _is_made_of_blocks(sequence: Sequence[str], arms: Sequence[tuple[str, int]], block_sizes: Collection[int]) -> bool:
    """Whether blocks of the given sizes, each exactly in the ratio and the last one cut, can make `sequence`.

    Where blocks of several sizes end cannot be read off a list. But each ends where the arms stand exactly in the
    ratio, so the places a block can end at are found from the left, each from those a block size before it.
    """
    weights = dict(arms)
    ratio_sum = sum(weights.values())
    so_far = dict.fromkeys(weights, 0)
    ends = {0: dict(so_far)}  # where a block can end, and how many of each arm stand before
    for position, arm in enumerate(sequence, start=1):
        if arm not in so_far:
            return False
        so_far[arm] += 1
        in_ratio = all(so_far[code] * ratio_sum == position * weight for code, weight in weights.items())
        if in_ratio and any(position - size in ends for size in block_sizes):
            ends[position] = dict(so_far)
    return any(
        len(sequence) - size < end
        and all((so_far[code] - before[code]) * ratio_sum <= size * weight for code, weight in weights.items())
        for end, before in ends.items()
        for size in block_sizes
    )
