"""Database URLs as hosting services give them, reduced to what both drivers of PostgreSQL honour in the same way."""

import re
from collections.abc import Mapping

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from engine.domain.errors import SettingsError

PG8000, PSYCOPG, SQLITE = "postgresql+pg8000", "postgresql+psycopg", "sqlite+pysqlite"

_DRIVERS: Mapping[str, str] = {"postgres": PG8000, "postgresql": PG8000, "sqlite": SQLITE} | {
    driver: driver for driver in (PG8000, PSYCOPG, SQLITE)
}
_FORMS = "postgresql://USER:PASSWORD@HOST/DATABASE or sqlite:///FILE"

_ANY: tuple[str, ...] = ()
_HONOURED: Mapping[str, tuple[str, ...]] = {
    "sslmode": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    "ssl": ("true",),
    "sslrootcert": _ANY,
    "channel_binding": ("prefer", "require"),
    "application_name": _ANY,
    "connect_timeout": _ANY,
    "options": _ANY,
    "schema": _ANY,
    "host": _ANY,
    "port": _ANY,
}
# The engine does what these values ask for anyway: it leaves a server that is read-only, and text is UTF-8.
_GRANTED: Mapping[str, tuple[str, ...]] = {
    "target_session_attrs": ("any", "read-write", "primary"),
    "gssencmode": ("disable", "prefer"),
    "client_encoding": ("utf8", "UTF8", "auto"),
}
# Settings of other clients' pools and of the sockets, which the engine's pool does not need.
_IGNORED = frozenset(
    {"pgbouncer", "connection_limit", "pool_timeout", "statement_cache_size", "supa"}
    | {"keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout"}
)
_KNOWN = {**_HONOURED, **_GRANTED}


def parse_url(text: str) -> URL:
    """The URL with the name of its driver. A socket folder stands as its host.

    Raises `SettingsError` for a URL that the engine cannot use as it is meant. It does not contain the password, and
    so it shows no part of the URL that an unencoded password could have become.
    """
    text = _without_quotes(text)
    scheme, separator, rest = text.partition("://")
    if not separator or not re.fullmatch(r"[\w+]+", scheme):
        raise _refusal(f"cannot be read; write {_FORMS}")
    driver = _DRIVERS.get(scheme)
    if driver is None:
        raise _refusal(f"begins with {scheme}://, which is not a database or driver of the engine; write {_FORMS}")
    return _parse_sqlite(rest) if driver == SQLITE else _parse_postgresql(driver, rest)


def _without_quotes(text: str) -> str:
    """The text without what a secret or an .env file may have put around it."""
    text = text.strip()
    quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "\"'"
    return text[1:-1].strip() if quoted else text


def _refusal(reason: str) -> SettingsError:
    return SettingsError(f"DATABASE_URL {reason}")


def _parse_sqlite(rest: str) -> URL:
    if rest and not rest.startswith("/"):
        raise _refusal("has a host in front of the SQLite file; write sqlite:///FILE or sqlite:////ABSOLUTE/FILE")
    url = make_url(f"{SQLITE}://{rest}")
    if url.query:
        raise _refusal(f"has the option {next(iter(url.query))!r}, but the engine sets the options of SQLite itself")
    return url


def _parse_postgresql(driver: str, rest: str) -> URL:
    authority = re.split("[/?]", rest, maxsplit=1)[0]
    if "#" in rest or rest.count("@") > 1 or ("@" in rest and "@" not in authority):
        raise _refusal(
            "has @, #, / or ? in its user name, password or options; percent-encode it there: "
            "@ as %40, # as %23, / as %2F, ? as %3F"
        )
    if "," in authority.rpartition("@")[2]:
        raise _refusal("names several hosts; name one, the one that accepts writes")
    try:
        url = make_url(f"{driver}://{rest}")
    except (ValueError, ArgumentError):
        # Not chained: the text that is no number may be a password.
        raise _bad_port() from None
    return _checked(_with_address_from_options(url, _checked_options(url)))


def _checked_options(url: URL) -> dict[str, str]:
    for name, value in url.query.items():
        if name not in _KNOWN and name not in _IGNORED:
            raise _refusal(
                f"has the option {name!r}, which the engine does not know; leave it out, or use one of "
                f"{', '.join(_HONOURED)}"
            )
        if not isinstance(value, str):
            raise _refusal(f"has the option {name!r} twice; leave one of them out")
        if _KNOWN.get(name) and value not in _KNOWN[name]:
            raise _refusal(f"has {name}={value!r}; use {' or '.join(_KNOWN[name])}")
    options = {name: str(value) for name, value in url.query.items() if name in _HONOURED}
    if not re.fullmatch(r"-?\d{1,9}", options.get("connect_timeout", "0")):
        raise _refusal(f"has connect_timeout={options['connect_timeout']!r}; give whole seconds")
    if options.pop("ssl", None):
        options.setdefault("sslmode", "require")
    if (schema := options.pop("schema", None)) is not None:
        options["options"] = f"{options.get('options', '')} -c search_path={_escaped(schema)}".strip()
    return options


def _escaped(schema: str) -> str:
    """The schema as a quoted identifier, in the syntax of the startup parameter `options`."""
    identifier = '"{}"'.format(schema.replace('"', '""'))
    return re.sub(r"([\\\s])", r"\\\1", identifier)


def _with_address_from_options(url: URL, options: dict[str, str]) -> URL:
    """The URL with these options. As in libpq, the options `host` and `port` win."""
    host, port = options.pop("host", url.host), options.pop("port", None)
    if port is not None and not port.isdecimal():
        raise _bad_port()
    host = host.replace("%2F", "/").replace("%2f", "/") if host else host
    return url.set(host=host, port=url.port if port is None else int(port), query=options)


def _checked(url: URL) -> URL:
    for what, value in (("user", url.username), ("host", url.host), ("database", url.database)):
        if not value:
            raise _refusal(f"names no {what}; write postgresql://USER:PASSWORD@HOST/DATABASE")
    if url.port is not None and not 0 < url.port < 65_536:
        raise _bad_port()
    host = str(url.host)
    if "," in host:
        raise _refusal("names several hosts; name one, the one that accepts writes")
    try:
        host.encode("idna" if not host.startswith("/") else "utf-8")
    except UnicodeError:
        raise _refusal("has a host that is not the name of one; correct what stands between @ and /") from None
    return url


def _bad_port() -> SettingsError:
    return _refusal("has a port that is not a number from 1 to 65535; write HOST:5432, or leave it out")
