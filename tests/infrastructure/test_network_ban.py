"""The tests reach nothing but this machine."""

import socket
import urllib.error
import urllib.request

import pytest

from tests.infrastructure.network import NetworkBannedError


def test_another_machine_cannot_be_connected_to() -> None:
    with socket.socket() as outside, pytest.raises(NetworkBannedError, match=r"192\.0\.2\.1"):
        outside.connect(("192.0.2.1", 80))


def test_another_machine_cannot_be_connected_to_over_ipv6() -> None:
    with socket.socket(socket.AF_INET6) as outside, pytest.raises(NetworkBannedError, match="2001:db8::1"):
        outside.connect_ex(("2001:db8::1", 80))


def test_another_machine_cannot_be_looked_up() -> None:
    with pytest.raises(NetworkBannedError, match=r"trial\.example"):
        urllib.request.urlopen("http://trial.example/")


def test_a_server_on_this_machine_is_reached() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        accepted, _ = server.accept()
        with accepted:
            accepted.sendall(b"here")
        assert client.recv(4) == b"here"
