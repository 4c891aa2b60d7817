"""Keeps the tests off the network: a connection to anywhere but this machine is an error, not a slow test."""

import ipaddress
import socket
from collections.abc import Callable
from typing import Any

import pytest


class NetworkBannedError(AssertionError):
    """A test tried to reach another machine."""


def is_this_machine(host: object) -> bool:
    """True for the loopback addresses, their name, and no host at all (which binds locally)."""
    if host in (None, "", b"", "localhost", b"localhost"):
        return True
    text = host.decode() if isinstance(host, bytes) else str(host)
    try:
        return ipaddress.ip_address(text).is_loopback
    except ValueError:
        return False


def ban_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse, for the life of `monkeypatch`, every connection and name look-up that would leave this machine."""

    def only_local(method: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(self: socket.socket, address: Any, *rest: Any) -> Any:
            if self.family in (socket.AF_INET, socket.AF_INET6) and not is_this_machine(address[0]):
                raise NetworkBannedError(f"tests do not reach the network, but {address[0]} was asked for")
            return method(self, address, *rest)

        return guarded

    look_up = socket.getaddrinfo

    def guarded_look_up(host: Any, *rest: Any, **options: Any) -> Any:
        if not is_this_machine(host):
            raise NetworkBannedError(f"tests do not reach the network, but {host} was looked up")
        return look_up(host, *rest, **options)

    monkeypatch.setattr(socket.socket, "connect", only_local(socket.socket.connect))
    monkeypatch.setattr(socket.socket, "connect_ex", only_local(socket.socket.connect_ex))
    monkeypatch.setattr(socket, "getaddrinfo", guarded_look_up)
