"""Time and memory of a list of a million entries in four strata, beside the bare cryptography of the same work."""

from __future__ import annotations

import csv
import hmac
import io
import multiprocessing
import os
import resource
import secrets
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

import rts
from rts.entropy import SystemEntropy
from rts.randomisation.generation import SubjectListInputs, generate, scheme_of
from rts.randomisation.subject_list import SubjectList
from rts.randomisation.verification import SUBJECT_COLUMNS, verify
from rts.trial.procedures import BigStick, Maximal, PermutedBlocks, Procedure
from rts.vault.entries import ListEntry
from rts.vault.file_keyring import FileKeyring
from rts.vault.list_file import RECORD_BYTES, ListFile, ListFileFacts, Manifest, write_list_file
from rts.vault.vault import Vault
from tests.bench.measure import Report, Timing, time_each

pytestmark = [pytest.mark.bench, pytest.mark.timeout(1800)]

ENTRIES = 1_000_000
STRATA = ("s1", "s2", "s3", "s4")
BLOCKS = PermutedBlocks((4, 6))
# Four words a block for order, sizes (a fifth as many as entries) and numbers, and two salts a block.
BLOCKS_OF_WORDS = ENTRIES // 4 + ENTRIES // 20 + ENTRIES // 4 + ENTRIES // 2
OPENED = 1_000


def test_a_million_entries_generated_sealed_opened_and_verified(tmp_path: Path) -> None:
    # In a process of its own, whose peak of memory is nobody else's.
    with multiprocessing.get_context("spawn").Pool(1) as process:
        report = process.apply(_measured, (tmp_path,))
    report.publish()


def test_lists_of_the_other_procedures() -> None:
    report = Report("lists-of-other-procedures")
    for procedure, strata, length in ((BigStick(3), STRATA, ENTRIES // 4), (Maximal(3), STRATA, 1_000)):
        inputs = _inputs(procedure, strata, length)
        report.add(time_each(f"generate, {procedure.name}, {len(strata)} × {length}", [lambda i=inputs: generate(i)]))
    report.publish()


def _measured(folder: Path) -> Report:
    report = Report("lists-of-a-million")
    inputs = _inputs(BLOCKS, STRATA, ENTRIES // len(STRATA))
    generated = time_each("generate", [lambda: generate(inputs)] * 3)
    report.add(generated, time_each("", [_bare_words] * 3), goal_ms=2_000, goal_ratio=3)

    vault = Vault(FileKeyring.create(folder / "keyring.json", SystemEntropy()), SystemEntropy())
    facts: list[ListFileFacts] = []
    sealed = time_each("generate, commit and seal", [lambda: facts.append(_generated_and_sealed(folder, vault))])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    bare = time_each("", [lambda: (_bare_words(), _bare_hashes(2), _bare_boxes(folder))])
    report.add(sealed, bare, goal_ms=15_000, peak_mb=peak, goal_mb=600)

    (found,) = facts
    opener = vault.opener(lambda _place: None)
    places = [secrets.randbelow(ENTRIES) for _ in range(OPENED)]
    report.add(
        time_each(
            "open the file and one entry",
            [lambda n=n: opener.open(ListFile.read(found.path).record(n, found.key)) for n in places],
        ),
        _bare_openings(),
        goal_ms=1,
    )

    made = generate(inputs)
    reveal, commitment = _reveal(made), made.commitment()
    del made
    verified = time_each("verify a reveal", [lambda: verify([(reveal, commitment)])])
    report.add(verified, time_each("", [lambda: _bare_hashes(1)]), goal_ms=15_000)
    return report


def _inputs(procedure: Procedure, strata: tuple[str, ...], length: int) -> SubjectListInputs:
    arms = (("KILDU", 1), ("ORVEN", 1))
    return SubjectListInputs(bytes(range(32)), "BENCH-R1", "R", strata, arms, procedure, length)


def _generated_and_sealed(folder: Path, vault: Vault) -> ListFileFacts:
    made = generate(_inputs(BLOCKS, STRATA, ENTRIES // len(STRATA)))
    manifest = Manifest(
        scheme=scheme_of(BLOCKS),
        trial="BENCH",
        definition_version=1,
        definition_digest="0" * 64,
        list_id="BENCH-R1",
        purpose="test",
        kind="subjects",
        strata=made.strata,
        commitment=made.commitment(),
        times_generated=1,
        generated_by="bench",
        generated_at="2026-11-01T08:00:00.000000Z",
        software_version=rts.__version__,
    )
    rows = list(map(ListEntry, made.numbers, made.arms, made.salts))
    return write_list_file(folder, manifest, rows, {}, vault)


def _reveal(made: SubjectList) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(SUBJECT_COLUMNS)
    writer.writerows([e.stratum, e.position, e.number, e.arm, e.salt.hex()] for e in made.entries())
    return text.getvalue()


# The floors: the cryptography that no program of the specification can leave out, in its plainest form.


def _bare_words() -> None:
    key, head = bytes(32), b"rts/permuted-blocks/1\x1fBENCH-R1\x1fs1\x1forder\x00"
    blocks = [hmac.digest(key, head + counter.to_bytes(8, "big"), "sha256") for counter in range(BLOCKS_OF_WORDS)]
    sorted(block[start : start + 8] for block in blocks[: ENTRIES // 4] for start in (0, 8, 16, 24))


def _bare_hashes(times: int) -> None:
    """The leaves and nodes of a commitment, that many times: it is computed when made and checked when sealed."""
    leaf, node = bytes(50), bytes(65)
    for _ in range(times * ENTRIES):
        sha256(leaf).digest()
        sha256(node).digest()


def _bare_boxes(folder: Path) -> None:
    cipher, plaintext, place = AESGCM(bytes(32)), bytes(128), bytes(45)
    content = bytearray()
    for _ in range(ENTRIES):
        nonce = secrets.token_bytes(12)
        content += nonce + cipher.encrypt(nonce, plaintext, place)
    with (folder / "bare").open("wb") as stream:
        stream.write(content)
        os.fsync(stream.fileno())


def _bare_openings() -> Timing:
    cipher, nonce = AESGCM(bytes(32)), bytes(12)
    box = cipher.encrypt(nonce, bytes(RECORD_BYTES - 28), None)
    return time_each("", [lambda: cipher.decrypt(nonce, box, None)] * OPENED)
