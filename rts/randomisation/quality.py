"""What a second statistician looks at before approving a list: counts, ratio by block, duplicates, gaps, longest run.

The checks read the entries alone and know nothing of seed and streams, so they also judge a list made elsewhere. All
results are for unblinded eyes and print themselves as `<sealed>`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from rts.randomisation.kit_list import KitEntry
from rts.randomisation.numbers import has_valid_check_digits
from rts.randomisation.secrecy import NeverPrinted
from rts.randomisation.subject_list import Entry
from rts.refusal import Message, say


@dataclass(frozen=True, slots=True, repr=False)
class Finding(NeverPrinted):
    """One thing that is wrong: a stable code, the sentence, and the stratum it concerns (empty: the whole list)."""

    rule: str
    message: Message
    stratum: str = ""


@dataclass(frozen=True, slots=True, repr=False)
class SequenceFigures(NeverPrinted):
    """Figures of one stratum, or of a kit list in packaging order (empty stratum).

    `counts` are (arm or kit type code, entries) in definition order; `longest_run` is the greatest number of
    neighbouring entries with one code.
    """

    stratum: str
    entries: int
    counts: tuple[tuple[str, int], ...]
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
    block_sizes: Collection[int],
    length: int,
) -> ListQuality:
    """Judge `entries` against the specification: `arms` are (code, ratio weight), `length` is that of each stratum."""
    sequences: dict[str, list[Entry]] = {stratum: [] for stratum in strata}
    strangers = 0
    for entry in sorted(entries, key=lambda entry: entry.position):
        if entry.stratum in sequences:
            sequences[entry.stratum].append(entry)
        else:
            strangers += 1
    codes = [code for code, _ in arms]
    findings = [*_judge_numbers([e.number for e in entries], prefix)]
    if strangers:
        message = say("%(count)s entries stand in no stratum of the definition", count=strangers)
        findings.append(Finding("quality.stratum", message))
    for stratum, sequence in sequences.items():
        if len(sequence) != length:
            message = say("%(found)s entries instead of %(length)s", found=len(sequence), length=length)
            findings.append(Finding("quality.length", message, stratum))
        findings += _judge_count_from_one("position", [e.position for e in sequence], stratum)
        findings += _judge_codes([e.arm for e in sequence], codes, stratum)
        if not _is_made_of_blocks([e.arm for e in sequence], arms, block_sizes):
            message = say("no succession of complete blocks in the ratio, the last one cut, makes this stratum")
            findings.append(Finding("quality.blocks", message, stratum))
    figures = tuple(_figures(stratum, [e.arm for e in sequence], codes) for stratum, sequence in sequences.items())
    return ListQuality(figures, tuple(findings))


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


def _figures(stratum: str, sequence: Sequence[str], codes: Sequence[str]) -> SequenceFigures:
    counts = Counter(sequence)
    longest_run = max((len(list(run)) for _, run in groupby(sequence)), default=0)
    return SequenceFigures(stratum, len(sequence), tuple((code, counts[code]) for code in codes), longest_run)


def _judge_numbers(numbers: Sequence[str], prefix: str) -> Iterator[Finding]:
    for number, times in Counter(numbers).items():
        if times > 1:
            message = say("number %(number)s is given %(times)s times", number=number, times=times)
            yield Finding("quality.number.duplicate", message)
        if not has_valid_check_digits(number):
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
