"""Scheme `rts/kit-list/1`: the kits of one blinded lot in packaging order, numbered, with a secret pick order.

Number, packaging position and pick rank come from streams of their own and are unrelated. The algorithm never changes
under this name; a changed one is `rts/kit-list/2` and stands beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from rts.randomisation.commitment import kit_leaf, tree_hash
from rts.randomisation.inputs import check_codes, check_entry_count, check_prefix, check_seed
from rts.randomisation.numbers import draw_numbers, draw_salts
from rts.randomisation.streams import ListStreams, arrange
from rts.refusal import FailedRule, refuse_all, say
from rts.trial.secrecy import NeverPrinted

SCHEME = "rts/kit-list/1"


@dataclass(frozen=True, slots=True, repr=False)
class KitListInputs(NeverPrinted):
    """Everything a kit list is made from.

    `seed` is 32 bytes and never a subject list's; `kit_types` (code, quantity) are in definition order. Raises Refusal
    (`invalid`) that names every field and rule that fails.
    """

    seed: bytes
    list_id: str
    prefix: str
    kit_types: tuple[tuple[str, int], ...]

    def __post_init__(self) -> None:
        refuse_all("invalid", self._failed_rules())

    def _failed_rules(self) -> Iterator[FailedRule]:
        yield from check_seed(self.seed)
        yield from check_codes("list_id", (self.list_id,))
        yield from check_prefix(self.prefix)
        if not self.kit_types:
            yield FailedRule("list.kit_types.count", say("kit_types must name at least one kit type"), "kit_types")
        yield from check_codes("kit_types", [code for code, _ in self.kit_types])
        if any(quantity < 1 for _, quantity in self.kit_types):
            yield FailedRule("list.kit_types.quantity", say("kit_types: every quantity must be 1 or more"), "kit_types")
        yield from check_entry_count("kit_types", sum(quantity for _, quantity in self.kit_types))


@dataclass(frozen=True, slots=True, repr=False)
class KitEntry(NeverPrinted):
    """One kit: packaging position (from 1), number, kit type code, secret pick rank (from 1) and salt (16 bytes)."""

    position: int
    number: str
    kit_type: str
    rank: int
    salt: bytes


@dataclass(frozen=True, slots=True, repr=False)
class KitList(NeverPrinted):
    """The kits in packaging order and the commitment in hex digits."""

    entries: tuple[KitEntry, ...]
    commitment: str


def generate_kits(inputs: KitListInputs) -> KitList:
    """The kit list of `inputs`. Equal inputs give the same list, byte for byte."""
    streams = ListStreams(inputs.seed, SCHEME, inputs.list_id)
    pool = [code for code, quantity in inputs.kit_types for _ in range(quantity)]
    packaged = arrange(pool, streams.words("order"))
    picked = arrange(range(len(pool)), streams.words("pick"))
    ranks = [0] * len(pool)
    for rank, kit in enumerate(picked, start=1):
        ranks[kit] = rank
    numbers = draw_numbers(inputs.prefix, len(pool), streams.words("numbers"))
    salts = draw_salts(len(pool), streams.blocks("salts"))
    entries = tuple(
        KitEntry(position, number, kit_type, rank, salt)
        for position, (number, kit_type, rank, salt) in enumerate(
            zip(numbers, packaged, ranks, salts, strict=True), start=1
        )
    )
    return KitList(entries, commitment_of_kits(entries))


def commitment_of_kits(entries: Iterable[KitEntry]) -> str:
    """The commitment, in hex digits, of kits in packaging order."""
    return tree_hash([kit_leaf(k.position, k.number, k.kit_type, k.rank, k.salt) for k in entries]).hex()
