"""Settings: name, default, unit and meaning, read once from FLEETWATT_* in the environment."""

from __future__ import annotations

import difflib
import ipaddress
import os
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX = "FLEETWATT_"
Natural = Annotated[int, msgspec.Meta(ge=0, description="a whole number from 0 on")]
Positive = Annotated[int, msgspec.Meta(ge=1, description="a whole number from 1 on")]
Port = Annotated[int, msgspec.Meta(ge=0, le=65_535, description="a whole number from 0 to 65,535")]
# The upper bound keeps infinity out, and fits PostgreSQL's milliseconds.
Seconds = Annotated[
    float, msgspec.Meta(ge=0, le=1_000_000, description="a number from 0 to 1,000,000")
]
PositiveSeconds = Annotated[
    float, msgspec.Meta(gt=0, le=1_000_000, description="a number above 0, up to 1,000,000")
]
Kilowatts = Annotated[
    float, msgspec.Meta(ge=1e-6, le=1e12, description="a number from 0.000001 to 1e12")
]
Rate = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^([1-9][0-9]*/(second|minute|hour|day))?\Z",
        description="a number, /, and second, minute, hour or day, as 60/minute; or empty",
    ),
]
HostNames = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[A-Za-z0-9.:\[\]_-]*(\s*,\s*[A-Za-z0-9.:\[\]_-]+)*\Z",
        description="host names separated by commas, or empty",
    ),
]
Origins = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^(https?://[A-Za-z0-9.:\[\]_-]+(\s*,\s*https?://[A-Za-z0-9.:\[\]_-]+)*)?\Z",
        description="origins separated by commas, as https://dash.example.com, or empty",
    ),
]
RedisUrl = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^(rediss?(\+[a-z]+)?://.+)?\Z",
        description="a redis:// or rediss:// URL, or empty",
    ),
]
NatsUrls = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^((nats|tls)://[^\s,]+(\s*,\s*(nats|tls)://[^\s,]+)*)?\Z",
        description="nats:// or tls:// URLs separated by commas, or empty",
    ),
]
# No comma among the hosts of a URL (a password may hold one), nor of a parameter; or the attribute.
DatabaseUrl = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^(?!postgres(ql)?://([^/?]*@)?[^/?@]*,[^/?@]*([/?]|\Z))"
        r"(?!(.*[\s?&])?host(addr)?\s*=\s*'?[^\s'&]*,)"
        r"|[\s?&]target_session_attrs\s*=\s*'?(read-write|primary)\b",
        description="a libpq URL, which for several hosts has target_session_attrs=read-write",
    ),
]
Replicas = Annotated[int, msgspec.Meta(ge=1, le=5, description="a whole number from 1 to 5")]


UNKNOWN_FIELDS = ("reject", "ignore")
# Variables that are read elsewhere: by commands, by docker-compose.yml.
OTHER_VARIABLES = frozenset(
    {
        "FLEETWATT_API_KEY",
        "FLEETWATT_APP_PASSWORD",
        "FLEETWATT_DASHBOARD_PASSWORD",
        "FLEETWATT_DB_PASSWORD",
        "FLEETWATT_DB_PORT",
        "FLEETWATT_GRAFANA_PASSWORD",
        "FLEETWATT_OWNER_PASSWORD",
        "FLEETWATT_PUBLISH",
    }
)
# What begins so is the tests' own.
OF_TESTS = ("FLEETWATT_TEST_", "FLEETWATT_NATIVE")


class ConfigError(Exception):
    """A setting has a value that it can't have; the message names the variable."""


def _setting(
    default: Any, meaning: str, *, unit: str = "", secret: bool = False, kind: Any = None
) -> Any:
    return field(
        default=default,
        repr=not secret,
        metadata={
            "meaning": meaning,
            "unit": unit,
            "secret": secret,
            "kind": kind or type(default),
        },
    )


@dataclass(frozen=True, kw_only=True)
class Config:
    """Every setting of fleetwatt; `SETTINGS` describes them."""

    database_url: str = _setting(
        "",
        "libpq URL of the TimescaleDB to serve on; empty: `fleetwatt dev` runs an embedded one; "
        "of several hosts, by `target_session_attrs=read-write`, the primary is found",
        secret=True,
        kind=DatabaseUrl,
    )
    replica_url: str = _setting(
        "",
        "libpq URL of a streaming replica that serves analytics and series, never status; empty: "
        "none",
        secret=True,
    )
    host: str = _setting("127.0.0.1", "address to listen on")
    port: int = _setting(8000, "port to listen on; 0: any free one, which the log names", kind=Port)
    workers: int = _setting(
        0,
        "worker processes; 0: one a core; always one on the embedded database",
        unit="processes",
        kind=Natural,
    )
    threads: int = _setting(
        64, "requests served at once by a worker", unit="threads", kind=Positive
    )
    data_dir: str = _setting(".fleetwatt", "folder of the embedded database")
    auth: str = _setting(
        "off",
        "`required`: every request but those for health and documentation needs an API key; "
        "`off`: none does, and only a loopback address may be listened on",
        kind=Literal["off", "required"],
    )
    auth_off_anywhere: str = _setting(
        "no",
        "`yes`: serve without keys on any address, where something in front admits only those who "
        "belong",
        kind=Literal["no", "yes"],
    )
    allowed_hosts: str = _setting(
        "",
        "with keys off, host names under which the service answers besides loopback's, separated "
        "by commas; `.example.com` stands for every name below it",
        kind=HostNames,
    )
    cors_origins: str = _setting(
        "",
        "origins whose pages may read answers, as `https://dash.example.com`, separated by commas; "
        "empty: none but our own",
        kind=Origins,
    )
    key_limit: str = _setting(
        "20000/minute", "requests of one API key; empty: no limit", unit="requests", kind=Rate
    )
    address_limit: str = _setting(
        "60000/minute", "requests of one address; empty: no limit", unit="requests", kind=Rate
    )
    failure_limit: str = _setting(
        "60/minute",
        "failed authentications of one address (IPv6: of one /64 network); empty: no limit",
        unit="requests",
        kind=Rate,
    )
    limits_storage: str = _setting(
        "",
        "redis:// URL where several hosts count together; empty: each process counts for itself",
        secret=True,
        kind=RedisUrl,
    )
    proxies: int = _setting(
        0,
        "proxies in front, whose X-Forwarded-For is believed; too many let a client claim any "
        "address",
        unit="proxies",
        kind=Natural,
    )
    read_timeout: float = _setting(
        60.0,
        "longest time for a request to arrive, before 408; an answer may take five times as long",
        unit="s",
        kind=PositiveSeconds,
    )
    address_connections: int = _setting(
        200,
        "connections of one address (IPv6: of one /64 network) that a worker keeps; for one more "
        "it closes the one that was silent longest; 0: no limit",
        unit="connections",
        kind=Natural,
    )
    pool_size: int = _setting(
        4,
        "database connections of a worker, one of them for writes, keys and health alone",
        unit="connections",
        kind=Positive,
    )
    analytic_queries: int = _setting(
        2,
        "analytic questions that a worker asks the database at once; half of its connections at "
        "most",
        unit="questions",
        kind=Positive,
    )
    pool_timeout: float = _setting(
        5.0,
        "longest wait of a question for a free connection before the answer is 503",
        unit="s",
        kind=Seconds,
    )
    unknown_fields: str = _setting(
        "reject",
        "what happens to a reading with a field that its stream does not have: `reject` the "
        "reading, or `ignore` the field; `?unknownFields=` of a request goes first",
        kind=Literal["reject", "ignore"],
    )
    queue_size: int = _setting(
        100_000,
        "readings of a worker that may wait to be written; past it 503",
        unit="readings",
        kind=Positive,
    )
    write_timeout: float = _setting(
        25.0,
        "longest wait of readings for their commit before the answer is 503; 0: no limit; keep it "
        "below the 30 s of a graceful stop",
        unit="s",
        kind=Seconds,
    )
    connect_timeout: int = _setting(
        5, "longest wait for a new connection to the database", unit="s", kind=Positive
    )
    statement_timeout: float = _setting(
        30.0,
        "longest run of one statement of the API before the answer is 503; 0: no limit",
        unit="s",
        kind=Seconds,
    )
    lateness: int = _setting(
        7,
        "how long late readings are common: compression starts after it",
        unit="days",
        kind=Positive,
    )
    max_kw: float = _setting(
        1000.0,
        "highest power of a device that the register has none of: a register that rises faster "
        "is not believed",
        unit="kW",
        kind=Kilowatts,
    )
    nats_url: str = _setting(
        "",
        "nats:// URLs of NATS, separated by commas, for `fleetwatt consume` and `accept=queued`; "
        "empty: neither",
        secret=True,
        kind=NatsUrls,
    )
    nats_required: str = _setting(
        "no",
        "`yes`: /readyz is 503 while NATS or each consumer is away; `no`: it reports them alone",
        kind=Literal["no", "yes"],
    )
    nats_replicas: int = _setting(
        1, "servers of NATS that have a copy of each stream", unit="servers", kind=Replicas
    )
    nats_stream_bytes: int = _setting(
        1_000_000_000,
        "size of each stream of NATS at most; a full one takes nothing more",
        unit="bytes",
        kind=Positive,
    )
    log_level: str = _setting(
        "INFO",
        "least severe level that is logged: DEBUG … ERROR",
        kind=Literal["DEBUG", "INFO", "WARNING", "ERROR"],
    )
    log_requests: int = _setting(
        100,
        "successful and fast requests that a worker logs; it logs all errors and slow ones",
        unit="a second",
        kind=Natural,
    )
    log_slow: float = _setting(
        1.0, "from how long on a request is slow, and logged in any case", unit="s", kind=Seconds
    )
    log_format: str = _setting(
        "json", "`json`, one object a line, or `text`", kind=Literal["json", "text"]
    )

    audit_log: str = _setting(
        "",
        "file to which audit lines are appended; empty: stderr, or the system's log where a "
        "command's stderr is a terminal",
    )

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Config:
        """Read the settings.

        Raises:
            ConfigError: A value is invalid.
        """
        given = {}
        for setting in SETTINGS:
            text = environ.get(setting.variable)
            if text is None:
                continue
            try:
                given[setting.name] = msgspec.convert(text, setting.kind, strict=False)
            except msgspec.ValidationError:
                shown = "(secret)" if setting.secret else repr(text)
                raise ConfigError(f"{setting.variable}={shown}: must be {setting.legal}") from None
        return cls(**given)

    @property
    def netloc(self) -> str:
        """Where to listen, host and port."""
        return netloc(self.host, self.port)

    def check_address(self, host: str) -> None:
        """Make sure that the service is not open to other machines without keys by oversight.

        Raises:
            ConfigError: Keys are off, and the address is open to others.
        """
        if self.auth == "off" and self.auth_off_anywhere == "no" and not _is_loopback(host):
            raise ConfigError(
                f"FLEETWATT_AUTH is off and {host or 'every address'} is open to other machines: "
                "set FLEETWATT_AUTH=required, or FLEETWATT_AUTH_OFF_ANYWHERE=yes where "
                "something in front of fleetwatt admits only those who belong"
            )

    @classmethod
    def of_a_database(cls) -> Config:
        """Read the settings for work on a database, which has to be named.

        Raises:
            ConfigError: None is.
        """
        config = cls.from_environment()
        if not config.database_url:
            raise ConfigError(
                "set FLEETWATT_DATABASE_URL to the database's URL; `make run` prints that of the "
                "embedded one"
            )
        return config

    @classmethod
    def of_a_command(cls) -> Config:
        """Read the settings for a command, which takes as long as it takes.

        Raises:
            ConfigError: No database is named.
        """
        return replace(cls.of_a_database(), statement_timeout=0, write_timeout=0)


def netloc(host: str, port: int) -> str:
    """Write host and port as a URL has them: an IPv6 address stands in brackets (RFC 3986)."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@dataclass(frozen=True)
class Setting:
    """One setting, as `fleetwatt config` lists it.

    Attributes:
        kind: The type that its value is read as, with its bounds.
    """

    name: str
    default: Any
    meaning: str
    unit: str
    secret: bool
    kind: Any

    @property
    def variable(self) -> str:
        return PREFIX + self.name.upper()

    @property
    def legal(self) -> str:
        """What its value may be, in words."""
        if self.kind is str:
            return "any text"
        if get_origin(self.kind) is Literal:
            return "one of " + ", ".join(get_args(self.kind))
        described: str = self.kind.__metadata__[0].description
        is_bare = self.unit and isinstance(self.default, int | float)
        return f"{described} ({self.unit})" if is_bare else described

    def shown(self, config: Config) -> str:
        """Return the value for people's eyes: a secret only as set or not."""
        value = getattr(config, self.name)
        if self.secret and value:
            return "(set)"
        return f"{value} {self.unit}".rstrip()


SETTINGS = tuple(Setting(field.name, field.default, **field.metadata) for field in fields(Config))


def misspelt(environ: Mapping[str, str]) -> dict[str, str]:
    """Return a warning for each variable that begins as a setting does and is none.

    The warning names the nearest right one, where one is near.
    """
    right = {setting.variable for setting in SETTINGS} | OTHER_VARIABLES
    return {
        variable: f"{variable} is no setting and does nothing{_suggestion(variable, right)}"
        for variable in sorted(environ)
        if variable.startswith(PREFIX)
        and variable not in right
        and not variable.startswith(OF_TESTS)
    }


def _suggestion(variable: str, right: set[str]) -> str:
    # Without the prefix, which makes all of them alike.
    names = {name.removeprefix(PREFIX): name for name in right}
    near = difflib.get_close_matches(variable.removeprefix(PREFIX), names, n=1, cutoff=0.6)
    return f": did you mean {names[near[0]]}?" if near else "; `fleetwatt config` lists them"
