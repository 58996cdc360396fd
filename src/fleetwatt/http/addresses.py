"""Whom an address stands for."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address, ip_network


def client_of(address: str | None) -> str:
    """Return whose limits an address counts for: an IPv6 client has a network of /64."""
    try:
        parsed = ip_address(address or "")
    except ValueError:
        return address or ""
    if isinstance(parsed, IPv6Address):
        return str(parsed.ipv4_mapped or ip_network(f"{parsed}/64", strict=False))
    return str(parsed)
