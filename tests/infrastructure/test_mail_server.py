"""The mail server of the tests is an SMTP server, up or down as a test wants it."""

import smtplib
from email.message import EmailMessage

import pytest

from tests.infrastructure.mail import MailServer


def written(subject: str) -> EmailMessage:
    message = EmailMessage()
    message["From"] = "rts@trial.example"
    message["To"] = "pharmacist@site.example"
    message["Subject"] = subject
    message.set_content("Eine Sendung ist unterwegs: 药品已发货.")
    return message


def send(server: MailServer, subject: str) -> None:
    with smtplib.SMTP(server.host, server.port, timeout=5) as client:
        client.send_message(written(subject), to_addrs=["pharmacist@site.example", "depot@trial.example"])


def test_a_sent_mail_is_kept_with_its_envelope(mail_server: MailServer) -> None:
    send(mail_server, "Shipment 17")

    (mail,) = mail_server.received
    assert mail.sender == "rts@trial.example"
    assert mail.recipients == ["pharmacist@site.example", "depot@trial.example"]
    assert mail.message["Subject"] == "Shipment 17"
    assert mail.message.get_content().strip() == "Eine Sendung ist unterwegs: 药品已发货."


def test_a_mail_the_server_refuses_is_not_kept(mail_server: MailServer) -> None:
    mail_server.answer = "451 try again later"

    with pytest.raises(smtplib.SMTPDataError, match="try again later"):
        send(mail_server, "Shipment 17")

    assert mail_server.received == []


def test_a_server_that_was_down_comes_back_on_its_port(mail_server: MailServer) -> None:
    mail_server.stop()
    with pytest.raises(ConnectionRefusedError):
        send(mail_server, "Shipment 17")

    mail_server.start()
    send(mail_server, "Shipment 18")

    assert [mail.message["Subject"] for mail in mail_server.received] == ["Shipment 18"]
