"""Bodies that cost a client few bytes, and a careless service much time, memory, or a large answer.

`python -m tests.fuzz.hostile URL` sends each to a service, and says how long it takes.
"""

from __future__ import annotations

import http.client
import json
import sys
import time
import zlib
from collections.abc import Iterator
from contextlib import closing
from typing import NamedTuple
from urllib.parse import urlsplit

from tests.examples import ago, meter, vehicle

JSON, NDJSON = "application/json", "application/x-ndjson"
MEGABYTES = 9_900_000  # bytes: about as many as a body may have


class Attack(NamedTuple):
    """A request of the corpus.

    Attributes:
        text: The body before it is packed.
        times: How often it is in the body.
    """

    name: str
    kind: str
    text: bytes
    packed: bool = True
    path: str = "/v1/ingestion"
    times: int = 1

    def body(self) -> bytes:
        """Return what is sent."""
        if not self.packed:
            return self.text
        packer = zlib.compressobj(wbits=31)
        return b"".join(packer.compress(self.text) for _ in range(self.times)) + packer.flush()


def corpus() -> Iterator[Attack]:
    """Yield all of it; each body is made when its turn comes."""
    odd = {f"unknown{number}": number for number in range(140)}
    many = json.dumps([odd] * 5_000).encode()[:MEGABYTES].rpartition(b"}, ")[0] + b"}]"
    yield Attack("thousands of readings of 140 unknown fields", JSON, many)
    yield Attack("the same in lines", NDJSON, many[1:-1].replace(b"}, ", b"}\n"))
    for text in ("{}", "[]", "1", '""', "null", "{}\r"):
        filled = (text.encode() + b"\n") * (MEGABYTES // (len(text) + 1))
        yield Attack(f"millions of lines of {text!r}", NDJSON, filled)
        items = b"[" + (text.encode() + b",") * (MEGABYTES // (len(text) + 1)) + b"1]"
        yield Attack(f"an array of millions of {text!r}", JSON, items)
    for text in ("\n", " ", "\n ", "\r\n", "\0", ",", '"', "\\", '\\"', "[", "{", '{"a":', "NaN"):
        filled = text.encode() * (MEGABYTES // len(text))
        yield Attack(f"{text!r} and nothing else", JSON, filled)
        yield Attack(f"{text!r} and nothing else, in lines", NDJSON, filled)
        yield Attack(f"an array that begins with {text!r}, again and again", JSON, b"[" + filled)
    yield Attack("an array of constants", JSON, b"[" + b"NaN," * (MEGABYTES // 4) + b"1]")
    yield Attack("an endless number", JSON, b'{"kwhConsumedAc":' + b"9" * MEGABYTES + b"}")
    yield Attack("an endless exponent", JSON, b'{"voltage":1e' + b"9" * MEGABYTES + b"}")
    yield Attack("an endless name", JSON, b'{"' + b"a" * MEGABYTES + b'":1}')
    yield Attack("an endless id", JSON, json.dumps(meter(meterId="M" * MEGABYTES)).encode())
    yield Attack("an endless time", JSON, json.dumps(meter(timestamp="2" * MEGABYTES)).encode())
    escapes = b'{"meterId":"' + b"\\u0000" * (MEGABYTES // 6) + b'"}'
    yield Attack("an id of escapes", JSON, escapes)
    fields = b"{" + b",".join(b'"%d":1' % number for number in range(MEGABYTES // 12)) + b"}"
    yield Attack("a reading of a million fields", JSON, fields)
    twice = b"{" + b'"meterId":1,' * (MEGABYTES // 12) + b'"meterId":1}'
    yield Attack("a field a million times", JSON, twice)
    for name, reading in (
        ("long ids", meter(meterId="M" * 700)),
        ("no field right", meter(meterId=[], kwhConsumedAc="x", voltage={}, timestamp=1)),
        ("times before all", meter(timestamp="0001-01-01T00:00:00Z")),
        ("nested values", vehicle(soc=[[[[[[]]]]]])),
    ):
        bad = json.dumps([reading] * 10_000).encode()
        yield Attack(f"10,000 readings with {name}", JSON, bad)
        yield Attack(f"10,000 lines with {name}", NDJSON, bad[1:-1].replace(b"}, ", b"}\n"))
    conflicts = [meter(kwhConsumedAc=number, timestamp=ago(hours=1)) for number in range(10_000)]
    yield Attack("10,000 readings of one time", JSON, json.dumps(conflicts).encode())
    yield Attack("a gzip bomb of a gigabyte", JSON, bytes(10**7), times=100)
    yield Attack(
        "a large body without gzip", JSON, b"[" + b"{}," * 3_000_000 + b"{}]", packed=False
    )
    deep = b'{"vehicleId":' + b"[" * 99_000
    yield Attack("a deep mapping", JSON, deep, path="/v1/ingestion/mapping", packed=False)
    names = b"{" + b",".join(b'"%d":1' % number for number in range(10_000)) + b"}"
    yield Attack("a wide mapping", JSON, names, path="/v1/ingestion/mapping", packed=False)


def send(url: str, attack: Attack, body: bytes = b"") -> tuple[int, int]:
    """Send one request, whose body may be made before; return the answer's status and size."""
    address = urlsplit(url)
    headers = {"Content-Type": attack.kind}
    if attack.packed:
        headers["Content-Encoding"] = "gzip"
    with closing(http.client.HTTPConnection(address.netloc, timeout=300)) as client:
        client.request("POST", attack.path, body or attack.body(), headers)
        answer = client.getresponse()
        return answer.status, len(answer.read())


def main() -> None:
    """Say of each request how long it takes, and what it is answered with."""
    for attack in corpus():
        began = time.monotonic()
        status, size = send(sys.argv[1], attack)
        sys.stdout.write(
            f"{time.monotonic() - began:6.2f} s {status} {size:9,} bytes  {attack.name}\n"
        )
        sys.stdout.flush()


if __name__ == "__main__":
    main()
