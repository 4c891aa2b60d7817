"""Mail over an encrypted, authenticated connection; never in the clear where encryption is asked for."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from pydantic import SecretStr

from rts.access.actor import service
from rts.notices.delivery import deliver_due
from rts.settings import Settings
from tests.infrastructure.mail import MailServer, free_port
from tests.world import World

PASSWORD = "mail secret"
POSTMAN = service("delivery run 1")


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "mail server of the tests")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = folder / "certificate.pem", folder / "key.pem"
    files[0].write_bytes(certificate.public_bytes(Encoding.PEM))
    files[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return files


def knows(_server: object, _session: object, _envelope: object, _mechanism: str, given: LoginPassword) -> AuthResult:
    """Whether the user name and password are those of the tests."""
    return AuthResult(success=given == LoginPassword(b"rts", PASSWORD.encode()), handled=False)


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    return make_certificate(tmp_path)


@pytest.fixture
def strict_server(certificate: tuple[Path, Path]) -> Iterator[MailServer]:
    """A mail server that takes mail after STARTTLS and a password only."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    kept = MailServer("127.0.0.1", free_port())
    controller = Controller(
        kept,
        hostname=kept.host,
        port=kept.port,
        tls_context=context,
        require_starttls=True,
        auth_required=True,
        authenticator=knows,
    )
    controller.start()
    yield kept
    controller.stop()


def settings_for(server: MailServer, password: str = PASSWORD) -> Settings:
    return Settings(
        smtp_host=server.host,
        smtp_port=server.port,
        smtp_starttls=True,
        smtp_user="rts",
        smtp_password=SecretStr(password),
    )


def test_mail_goes_out_encrypted_and_with_the_password(
    world: World, strict_server: MailServer, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))

    delivery = deliver_due(world.store, settings_for(strict_server), POSTMAN)

    assert (delivery.failed, delivery.unreachable) == (0, "")
    assert len(strict_server.received) == delivery.sent > 0


def test_a_mail_server_with_an_unknown_certificate_gets_neither_password_nor_mail(
    world: World, strict_server: MailServer
) -> None:
    delivery = deliver_due(world.store, settings_for(strict_server), POSTMAN)

    assert delivery.sent == 0
    assert "certificate verify failed" in delivery.unreachable
    assert strict_server.received == []


def test_a_wrong_password_is_told_without_being_repeated(
    world: World, strict_server: MailServer, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))

    delivery = deliver_due(world.store, settings_for(strict_server, "another secret"), POSTMAN)

    assert delivery.sent == 0
    assert delivery.unreachable.startswith("535")
    assert "another secret" not in delivery.unreachable


def test_where_encryption_is_asked_for_no_mail_goes_out_without(world: World, mail_server: MailServer) -> None:
    delivery = deliver_due(world.store, settings_for(mail_server), POSTMAN)

    assert delivery.sent == 0
    assert "STARTTLS" in delivery.unreachable
    assert mail_server.received == []
