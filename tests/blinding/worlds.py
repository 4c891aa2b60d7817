"""Worlds that differ in nothing a blinded person may know.

World A is a staged trial. World B is the same trial with the arms exchanged in every subject list and the kit types in
every kit list: whoever had the one treatment has the other, and every kit holds the other content, under the same
numbers, ranks and salts. World C has the rows of A, but the seeds and block sizes recorded with its lists are others.

The trial is SIRIUS with every secret code replaced by a nonsense word, so that a code that gets out is recognised
wherever it turns up.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from rts.access.actor import service
from rts.conduct import generating_lists, making_lists
from rts.randomisation import generation
from rts.randomisation.kit_list import generate_kits
from rts.store.sealed_rows import open_entry, open_kits
from rts.store.tables import Kit, ListEntry, Subject
from rts.trial.shipped import shipped_definition
from rts.vault.list_file import write_list_file
from tests.world import World

SITES = ("CN02", "CN03")

ARMS = ("NUMBALOO", "QUOFFERT")
KIT_TYPES = ("FLIMPWOK", "ZYGGADOT")
MANUFACTURING_LOTS = ("WOBBLEDUCK", "SNORKELFIN", "PUDDLECRAW", "GNASHBERRY")
LIST_IDS = ("BRAMBLEQUO", "GRUMPTIOUS", "TOVEWABERY")
# Public names of the treatments: known to everybody, told of no subject.
TREATMENTS = ("glimmervane", "matching dunderwick")

SEEDS = {plan: f"{number:x}" * 64 for number, plan in enumerate(LIST_IDS, start=1)}


def _replaced(text: str, words: dict[str, str]) -> str:
    for old, new in words.items():
        assert old in text, f"the shipped definition no longer says {old}"
        text = text.replace(old, new)
    return text


def definition_texts() -> tuple[str, str]:
    """SIRIUS in nonsense words, with lists just long enough for the story."""
    public, restricted = shipped_definition("sirius")
    names = {"sirolimus": TREATMENTS[0], "matching placebo": TREATMENTS[1]}
    labels = {"西罗莫司": TREATMENTS[0], "匹配安慰剂": TREATMENTS[1]}
    public = _replaced(
        public,
        {
            **{f'name = "{old}"': f'name = "{new}"' for old, new in names.items()},
            **{f'en = "{old}"': f'en = "{new}"' for old, new in names.items()},
            **{f'zh_Hans = "{old}"': f'zh_Hans = "{new}"' for old, new in labels.items()},
        },
    )
    restricted = _replaced(
        restricted,
        {
            **{f'treatment = "{old}"': f'treatment = "{new}"' for old, new in names.items()},
            **dict(zip(("KILDU", "ORVEN"), ARMS, strict=True)),
            **dict(zip(("GAFIB", "WUBEK"), KIT_TYPES, strict=True)),
            **dict(zip(("M25-0417", "M25-0422", "M26-0131", "M26-0128"), MANUFACTURING_LOTS, strict=True)),
            **dict(zip(("SIRIUS-R1", "SIRIUS-K1", "SIRIUS-K2"), LIST_IDS, strict=True)),
            "quantity = 300": "quantity = 60",
            "quantity = 270": "quantity = 10",
            "length = 148": "length = 40",
            # Before anybody's password does.
            "expiry = 2027-01-05": "expiry = 2026-10-05",
        },
    )
    return public, restricted


@contextmanager
def _lists_as_in(name: str) -> Iterator[None]:
    """While it lasts, lists are generated as world `name` has them."""
    with pytest.MonkeyPatch.context() as patch:
        if name == "B":
            # With the order of arms exchanged, each random word falls on the other arm; the record says so, so that
            # the list can be regenerated from it.
            patch.setattr(
                generation,
                "generate",
                lambda inputs, make=generation.generate: make(replace(inputs, arms=inputs.arms[::-1])),
            )
            patch.setattr(
                generating_lists,
                "generate_kits",
                lambda inputs: generate_kits(replace(inputs, kit_types=inputs.kit_types[::-1])),
            )
            _patch_recorded_inputs(patch, {"arms": lambda arms: arms[::-1], "kit_types": lambda types: types[::-1]})
        if name == "C":
            _patch_recorded_inputs(
                patch, {"seed": lambda seed: seed[::-1][1:] + "f", "block_sizes": lambda _sizes: [4, 6, 10, 12]}
            )
        yield


def _patch_recorded_inputs(patch: pytest.MonkeyPatch, changes: dict[str, Any]) -> None:
    def write(directory: Path, manifest: Any, rows: Any, inputs: dict[str, Any], *rest: Any) -> Any:
        changed = {key: changes[key](value) if key in changes else value for key, value in inputs.items()}
        assert changed != inputs
        return write_list_file(directory, manifest, rows, changed, *rest)

    patch.setattr(making_lists, "write_list_file", write)


def stage(name: str, database_url: str, folder: Path) -> World:
    """Stage world `name`: A, B or C."""
    public, restricted = definition_texts()
    with _lists_as_in(name):
        return World.make(database_url, folder, sites=SITES, public=public, restricted=restricted, seeds=SEEDS)


@dataclass(frozen=True)
class Secrets:
    """What the lists of a world say, read with an opener: arm by entry, kit type by kit number."""

    arms: dict[tuple[str, int], str]
    kit_types: dict[str, str]
    arm_of: dict[str, str]


def secrets_of(world: World) -> Secrets:
    """Everything that blinded people must not learn. The transaction is rolled back: the world stays as it is."""

    class Enough(Exception):
        pass

    found: list[Secrets] = []
    try:
        with world.store.transaction(write=True) as tx:
            tx.act_as(service("test"), "none")
            opener = tx.opener()
            entries = {
                entry: open_entry(tx, entry, opener).arm
                for entry in tx.session.scalars(select(ListEntry).order_by(ListEntry.id))
            }
            kits = open_kits(tx, list(tx.session.scalars(select(Kit).order_by(Kit.number))), opener)
            subjects = {
                subject.code: entries[entry]
                for subject, entry in tx.session.execute(
                    select(Subject, ListEntry).join(ListEntry, ListEntry.subject_id == Subject.id)
                )
            }
            found.append(
                Secrets(
                    {(entry.stratum, entry.position): arm for entry, arm in entries.items()},
                    {kit.kit.number: kit.kit_type for kit in kits},
                    subjects,
                )
            )
            raise Enough
    except Enough:
        return found[0]
