"""Whether a client is still there, by its connection."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing

import pytest

from fleetwatt.http.clients import is_gone
from tests.waiting import eventually

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """A client's side of a connection and the server's."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        closing(socket.create_connection(listening.getsockname())) as client,
        closing(listening.accept()[0]) as server,
    ):
        yield client, server


def test_a_client_that_waits_is_there_whatever_it_sent(pair: Pair) -> None:
    client, server = pair
    assert not is_gone(server)
    client.sendall(b"GET /healthz HTTP/1.1")

    assert not is_gone(server)


@pytest.mark.parametrize("sent", [b"", b"GET /healthz HTTP/1.1"])
def test_a_client_that_has_closed_its_connection_is_gone(pair: Pair, sent: bytes) -> None:
    client, server = pair
    client.sendall(sent)
    client.close()

    eventually(lambda: is_gone(server), "the client is there")


def test_a_request_whose_time_to_arrive_is_over_has_a_client(pair: Pair) -> None:
    """The worker shuts down its reading side, and answers what had arrived whole."""
    _, server = pair
    server.shutdown(socket.SHUT_RD)

    assert not is_gone(server)


def test_where_the_system_does_not_know_the_client_counts_as_there() -> None:
    one, other = socket.socketpair()
    other.close()

    assert not is_gone(one)
    one.close()
