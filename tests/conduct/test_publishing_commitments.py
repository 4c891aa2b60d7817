"""The commitment of a list goes by mail to those who keep the trial's file, at the moment the list is sealed."""

from __future__ import annotations

from rts.conduct.lists import list_named
from tests.world import World


def test_every_sealed_list_is_told_of_by_its_commitment_and_never_by_its_id(world: World) -> None:
    mails = world.mails("list_sealed")
    with world.store.transaction() as tx:
        trial = tx.trial("SIRIUS")
        commitments = {name: list_named(tx, trial, name).commitment for name in ("SIRIUS-R1", "SIRIUS-K1", "SIRIUS-K2")}

    assert {who for who, _, _ in mails} == {"statistician.one", "statistician.two", "manager", "sponsor", "auditor"}
    for name, commitment in commitments.items():
        kind = "subject list" if "-R" in name else "kit list"
        told = [(line, body) for _, line, body in mails if commitment in body]
        assert len(told) == 5
        assert {line for line, _ in told} == {f"SIRIUS: a {kind} was sealed"}
        assert all(name not in line + body for line, body in told)
