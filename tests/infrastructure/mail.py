"""A real SMTP server on this machine that keeps what it is sent."""

import email.policy
import socket
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import cast

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session


@dataclass(frozen=True)
class ReceivedMail:
    """One delivery: the envelope's addresses and the message itself."""

    sender: str
    recipients: list[str]
    message: EmailMessage


@dataclass
class MailServer:
    """Where it listens, what it has received, and `answer`, its reply to the next messages (`451 …` refuses them)."""

    host: str
    port: int
    answer: str = "250 kept"
    received: list[ReceivedMail] = field(default_factory=list)
    _controller: Controller | None = None

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 aiosmtpd's name
        if self.answer.startswith("2"):
            message = email.message_from_bytes(cast(bytes, envelope.content), policy=email.policy.default)
            self.received.append(ReceivedMail(cast(str, envelope.mail_from), list(envelope.rcpt_tos), message))
        return self.answer

    def start(self) -> None:
        """Listen, on the same port again after a `stop`."""
        if self._controller is None:
            self._controller = Controller(self, hostname=self.host, port=self.port)
            self._controller.start()

    def stop(self) -> None:
        """Stop listening: from now on a connection is refused, as when the mail server is down."""
        if self._controller is not None:
            self._controller.stop()
            self._controller = None


def free_port() -> int:
    """A TCP port on the loopback address that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
