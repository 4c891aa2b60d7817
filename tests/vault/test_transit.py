"""Root keys in a transit engine: a real OpenBao server, and servers that fail in each way a network can."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rts.entropy import ReplayedEntropy
from rts.refusal import Refusal
from rts.vault import transit as wire
from rts.vault.file_keyring import FileKeyring
from rts.vault.list_file import Manifest, write_list_file
from rts.vault.offline import open_offline
from rts.vault.sealed import WrappedKey
from rts.vault.transit import Transit, version_of
from rts.vault.transit_keyring import TransitKeyring
from rts.vault.vault import Vault
from tests.infrastructure.openbao import ROOT_TOKEN, OpenBao


@pytest.fixture(scope="module")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    """A server for tests that leave it as it was, but for keys of their own."""
    server = OpenBao(tmp_path_factory.mktemp("openbao")).start()
    yield server
    server.stop()


@pytest.fixture
def key(bao: OpenBao, request: pytest.FixtureRequest) -> str:
    """The name of a key of this test's own."""
    name = hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:16]
    bao.ask("POST", f"transit/keys/{name}", {})
    return name


@pytest.fixture
def transit(bao: OpenBao, key: str) -> Transit:
    """The test's own key, with a token that may do everything."""
    return bao.transit(ROOT_TOKEN, key=key)


@pytest.fixture
def keyring(transit: Transit, tmp_path: Path, entropy: ReplayedEntropy) -> TransitKeyring:
    return TransitKeyring.create(tmp_path / "keyring.json", transit, entropy)


Behaviour = Callable[[socket.socket], None]


@contextmanager
def refused_for(rule: str) -> Iterator[pytest.ExceptionInfo[Refusal]]:
    with pytest.raises(Refusal) as refused:
        yield refused
    assert (refused.value.code, refused.value.rules) == ("unavailable", (rule,))


# --- with the real server -------------------------------------------------------------------------------------------


def test_a_data_key_comes_back_from_its_wrap(keyring: TransitKeyring, entropy: ReplayedEntropy) -> None:
    wrapped = keyring.wrap(b"k" * 32, "trial SIRIUS", entropy)
    assert wrapped.version == 1
    assert wrapped.wrap.startswith(b"vault:v1:")
    assert keyring.unwrap(wrapped) == b"k" * 32


def test_the_file_holds_no_key_that_opens_anything_alone(
    keyring: TransitKeyring, transit: Transit, entropy: ReplayedEntropy
) -> None:
    content = json.loads(keyring.path.read_text())
    assert (content["format"], content["root_keys"]) == ("rts/transit-keyring/1", {})
    assert keyring.path.stat().st_mode & 0o777 == 0o600
    loaded = TransitKeyring.load(keyring.path, transit)
    assert loaded.mac("seed", b"x") == keyring.mac("seed", b"x")
    assert loaded.audit_public_key() == keyring.audit_public_key()
    with refused_for("keyring.place"):
        FileKeyring.load(keyring.path)


def test_a_keyring_with_its_own_root_keys_is_not_taken_for_one_without(tmp_path: Path, transit: Transit) -> None:
    FileKeyring.create(tmp_path / "other.json", ReplayedEntropy(b"other"))
    with refused_for("keyring.place") as refused:
        TransitKeyring.load(tmp_path / "other.json", transit)
    assert "holds its root keys itself" in str(refused.value)


def test_a_wrap_opens_for_its_own_context_version_and_keyring_only(
    keyring: TransitKeyring, transit: Transit, entropy: ReplayedEntropy, tmp_path: Path
) -> None:
    wrapped = keyring.wrap(b"k" * 32, "trial SIRIUS", entropy)
    keyring.add_root_key(entropy)
    other = TransitKeyring.create(tmp_path / "other.json", transit, ReplayedEntropy(b"other"))
    swapped = wrapped.wrap.replace(b"v1", b"v2")
    for holder, changed in (
        (keyring, WrappedKey(1, wrapped.wrap, "trial OTHER")),
        (keyring, WrappedKey(2, wrapped.wrap, "trial SIRIUS")),
        (keyring, WrappedKey(2, swapped, "trial SIRIUS")),
        (keyring, WrappedKey(9, wrapped.wrap.replace(b"v1", b"v9"), "trial SIRIUS")),
        (keyring, WrappedKey(1, wrapped.wrap[:-8] + b"AAAAAAAA", "trial SIRIUS")),
        (keyring, WrappedKey(1, b"\xff no text", "trial SIRIUS")),
        (other, wrapped),
    ):
        with refused_for("vault.open"):
            holder.unwrap(changed)


def test_root_keys_are_added_finished_and_retired(
    keyring: TransitKeyring, transit: Transit, entropy: ReplayedEntropy
) -> None:
    running = TransitKeyring.load(keyring.path, transit)
    mac, old = keyring.mac("seed", b"x"), keyring.wrap(b"k" * 32, "trial SIRIUS", entropy)
    assert (keyring.add_root_key(entropy), keyring.root_keys(), keyring.current_root_key) == (2, (1, 2), 1)
    assert running.wrap(b"n" * 32, "trial SIRIUS", entropy).version == 2
    with pytest.raises(ValueError, match="never retired"):
        keyring.retire_root_keys(1)
    keyring.finish_rotation(2, entropy)
    kept = json.loads(keyring.path.read_text())
    assert kept["current_root_key"] == 2
    keyring.retire_root_keys(1)
    assert keyring.root_keys() == (2,)
    with refused_for("keyring.retired") as refused:
        keyring.unwrap(old)
    assert "Root key 1 was retired" in str(refused.value)
    # The keys in the file itself were wrapped anew, so that they outlive the retirement.
    loaded = TransitKeyring.load(keyring.path, transit)
    assert (loaded.mac("seed", b"x"), running.mac("seed", b"x")) == (mac, mac)
    assert loaded.audit_public_key() == keyring.audit_public_key()


def test_audit_keys_are_added_and_put_to_use(keyring: TransitKeyring, entropy: ReplayedEntropy) -> None:
    first = keyring.audit_public_key()
    assert keyring.add_audit_key(entropy) == 2
    second = keyring.audit_public_key(2)
    keyring.use_audit_key(2)
    assert (keyring.audit_public_key(), keyring.audit_public_key(1)) == (second, first)
    assert first != second


def test_a_list_is_sealed_and_opened(
    keyring: TransitKeyring,
    entropy: ReplayedEntropy,
    tmp_path: Path,
    entries: list,
    manifest_of: Callable[..., Manifest],
) -> None:
    facts = write_list_file(tmp_path, manifest_of(entries), entries, {"seed": "5eed"}, Vault(keyring, entropy))
    opened = open_offline(facts.path, facts.keys_path, keyring, lambda _: None)
    assert opened.arm_of("R100") == "QZ"


def test_the_token_that_the_manual_asks_for_wraps_and_unwraps_and_does_no_more(
    bao: OpenBao, tmp_path: Path, entropy: ReplayedEntropy
) -> None:
    keyring = TransitKeyring.create(tmp_path / "keyring.json", bao.transit(), entropy)
    assert keyring.unwrap(keyring.wrap(b"k" * 32, "trial SIRIUS", entropy)) == b"k" * 32
    with refused_for("transit.denied"):
        keyring.add_root_key(entropy)
    with refused_for("transit.denied"):
        bao.transit(key="another").encrypt(b"k" * 32, b"context")


def test_a_token_that_is_renewed_in_its_file_is_used_at_once(bao: OpenBao) -> None:
    transit = bao.transit("s.expired")
    with refused_for("transit.denied") as refused:
        transit.versions()
    assert "s.expired" not in str(refused.value)
    transit.token_file.write_text(ROOT_TOKEN)
    assert transit.versions() == (1,)


def test_a_key_or_engine_that_is_not_there_is_named_and_none_is_made(
    bao: OpenBao, tmp_path: Path, entropy: ReplayedEntropy
) -> None:
    for changes in ({"key": "absent"}, {"mount": "absent"}):
        transit = bao.transit(ROOT_TOKEN, **changes)
        with refused_for("transit.missing") as refused:
            TransitKeyring.create(tmp_path / "keyring.json", transit, entropy)
        assert "absent" in str(refused.value)
        with refused_for("transit.missing"):
            transit.decrypt("vault:v1:AAAA", b"context")
    assert not (tmp_path / "keyring.json").exists()
    assert "absent" not in bao.ask("LIST", "transit/keys")["data"]["keys"]


@pytest.mark.parametrize("kind", [{"derived": True}, {"type": "rsa-2048"}, {"type": "ed25519"}])
def test_a_key_that_binds_nothing_is_refused(
    bao: OpenBao, key: str, kind: dict[str, object], tmp_path: Path, entropy: ReplayedEntropy
) -> None:
    bao.ask("POST", f"transit/keys/{key}-other", kind)
    with refused_for("transit.key_type"):
        TransitKeyring.create(tmp_path / "keyring.json", bao.transit(ROOT_TOKEN, key=f"{key}-other"), entropy)
    assert not (tmp_path / "keyring.json").exists()


def test_a_namespace_is_a_place_of_its_own(bao: OpenBao) -> None:
    bao.ask("PUT", "sys/namespaces/hospital", {})
    bao.ask("POST", "sys/mounts/transit", {"type": "transit"}, namespace="hospital")
    bao.ask("POST", "transit/keys/inside", {}, namespace="hospital")
    assert bao.transit(ROOT_TOKEN, key="inside", namespace="hospital").versions() == (1,)
    with refused_for("transit.missing"):
        bao.transit(ROOT_TOKEN, key="inside").versions()


def test_over_tls_only_a_trusted_certificate_is_spoken_to(tmp_path: Path) -> None:
    server = OpenBao(tmp_path, tls=True).start()
    try:
        transit = server.transit()
        assert transit.decrypt(transit.encrypt(b"k" * 32, b"context"), b"context") == b"k" * 32
        with refused_for("transit.certificate") as refused:
            server.transit(ca_file=None).versions()
        assert "RTS_TRANSIT_CA_FILE" in str(refused.value)
        for file in (tmp_path / "absent.pem", tmp_path / "openbao.log"):
            with refused_for("transit.certificate"):
                server.transit(ca_file=file).versions()
    finally:
        server.stop()


def test_a_sealed_server_and_one_that_is_gone_are_told_apart(tmp_path: Path, entropy: ReplayedEntropy) -> None:
    server = OpenBao(tmp_path).start()
    transit = server.transit(ROOT_TOKEN)
    keyring = TransitKeyring.create(tmp_path / "keyring.json", transit, entropy)
    wrapped, mac = keyring.wrap(b"k" * 32, "trial SIRIUS", entropy), keyring.mac("seed", b"x")
    server.ask("PUT", "sys/seal")
    time.sleep(0.5)
    with refused_for("transit.sealed"):
        keyring.unwrap(wrapped)
    server.stop()
    with refused_for("transit.unreachable"):
        keyring.unwrap(wrapped)
    with refused_for("transit.unreachable"):
        keyring.wrap(b"k" * 32, "trial SIRIUS", entropy)
    # What this process has unwrapped before, it keeps; another one has nothing.
    assert keyring.mac("seed", b"x") == mac
    with refused_for("transit.unreachable"):
        TransitKeyring.load(keyring.path, transit).mac("seed", b"x")


# --- settings that are wrong ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        "",
        "bao.example.org",
        "ftp://bao.example.org",
        "http://bao.example.org:8200",
        "https://",
        "https://bao.example.org:port",
        "https://bao.example.org:0",
        "https://[bao",
    ],
)
def test_an_address_that_is_none_or_would_send_keys_in_the_open_is_refused(address: str, tmp_path: Path) -> None:
    with pytest.raises(Refusal) as refused:
        Transit(address, "transit", "rts", tmp_path / "token")
    assert (refused.value.code, refused.value.rules) == ("invalid", ("transit.address",))


def test_a_token_file_that_is_missing_empty_binary_or_open_to_all_is_refused(tmp_path: Path) -> None:
    transit = Transit("http://127.0.0.1:1", "transit", "rts", tmp_path / "token")
    with refused_for("transit.token"):
        transit.versions()
    for content in (b"", b" \n", b"two\nlines", "schlüssel".encode()):
        transit.token_file.write_bytes(content)
        transit.token_file.chmod(0o600)
        with refused_for("transit.token"):
            transit.versions()
    transit.token_file.write_text("s.secret")
    transit.token_file.chmod(0o604)
    with refused_for("transit.token") as refused:
        transit.versions()
    assert "chmod 600" in str(refused.value)
    assert "s.secret" not in str(refused.value)


# --- what a network does --------------------------------------------------------------------------------------------


@pytest.fixture
def failing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Behaviour], Transit]]:
    """Call it with what a server does to each connection, for a `Transit` that asks it and waits a second at most."""
    monkeypatch.setattr(wire, "ANSWER_SECONDS", 1.0)
    listening = socket.create_server(("127.0.0.1", 0))
    done = threading.Event()

    def serve(answer: Behaviour) -> Transit:
        def run() -> None:
            while not done.is_set():
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    try:
                        answer(connection)
                    except OSError:
                        continue

        threading.Thread(target=run, daemon=True).start()
        token = tmp_path / "token"
        token.write_text("s.secret")
        token.chmod(0o600)
        return Transit(f"http://127.0.0.1:{listening.getsockname()[1]}", "transit", "rts", token)

    yield serve
    done.set()
    listening.close()


def _answer(status: str, body: bytes) -> Behaviour:
    def answer(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)

    return answer


def _silence(_connection: socket.socket) -> None:
    time.sleep(3)


def _drip(connection: socket.socket) -> None:
    for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b" " * 100:
        connection.sendall(bytes([byte]))
        time.sleep(0.05)


def _hang_up(connection: socket.socket) -> None:
    connection.recv(10)


@pytest.mark.parametrize("server", [_silence, _drip], ids=["silence", "one byte at a time"])
def test_a_server_that_keeps_one_waiting_is_given_up(failing: Callable[..., Transit], server: Behaviour) -> None:
    """A time-out of the socket alone would let the second go on for ever: each of its reads is in time."""
    transit = failing(server)
    begun = time.monotonic()
    with refused_for("transit.unreachable"):
        transit.versions()
    assert 0.9 < time.monotonic() - begun < 2.5


def test_a_code_break_waits_for_seconds_not_minutes() -> None:
    assert wire.ANSWER_SECONDS <= 5


@pytest.mark.parametrize(
    ("server", "rule"),
    [
        (_hang_up, "transit.unreachable"),
        (_answer("200 OK", b"<html>a captive portal</html>"), "transit.answer"),
        (_answer("200 OK", b'{"data": {"latest_version": "2", "min_decryption_version": 1}}'), "transit.answer"),
        (_answer("200 OK", b'["data"]'), "transit.answer"),
        (_answer("200 OK", b'{"data": {"latest_version": 1, "min_decryption_version": 2}}'), "transit.answer"),
        (_answer("200 OK", b'{"data": {"latest_version": 0, "min_decryption_version": 0}}'), "transit.answer"),
        (_answer("307 Temporary Redirect", b""), "transit.failed"),
        (_answer("403 Forbidden", b"{}"), "transit.denied"),
        (_answer("404 Not Found", b'{"errors":[]}'), "transit.missing"),
        (_answer("500 Internal Server Error", b'{"errors":["1 error occurred"]}'), "transit.failed"),
        (_answer("502 Bad Gateway", b"nginx"), "transit.failed"),
        (_answer("503 Service Unavailable", b'{"errors":["Vault is sealed"]}'), "transit.sealed"),
    ],
)
def test_each_answer_that_is_no_good_one_is_refused(
    failing: Callable[..., Transit], server: Behaviour, rule: str
) -> None:
    with refused_for(rule):
        failing(server).versions()


@pytest.mark.parametrize("body", [b'{"data": {}}', b'{"data": {"ciphertext": "plain text"}}', b"", b"{"])
def test_a_wrap_that_is_none_is_refused(failing: Callable[..., Transit], body: bytes) -> None:
    with refused_for("transit.answer"):
        failing(_answer("200 OK", body)).encrypt(b"k" * 32, b"context")


@pytest.mark.parametrize("body", [b'{"data": {}}', b'{"data": {"plaintext": "not base 64"}}', b""])
def test_a_plaintext_that_is_none_is_refused(failing: Callable[..., Transit], body: bytes) -> None:
    with refused_for("transit.answer"):
        failing(_answer("200 OK", body)).decrypt("vault:v1:AAAA", b"context")


@pytest.mark.parametrize(
    ("wrap", "version"),
    [("vault:v1:AAAA", 1), ("vault:v12:AA==", 12), ("vault:v0:AAAA", 0), ("vault:v1:", 0), ("v1:AAAA", 0), ("", 0)],
)
def test_the_version_stands_in_the_wrap(wrap: str, version: int) -> None:
    assert version_of(wrap) == version
