"""What is an address, and how it is shown: without what gives access."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from bpr_cli.errors import InputError

SCHEMES = ("s3", "gs", "hf", "https", "http")
WEB = ("https", "http")
# One slash is enough for these: that is what a Path leaves of two.
_KNOWN = re.compile(rf"({'|'.join(SCHEMES)}):[/\\]+(?=[^/\\])", re.IGNORECASE)
_ANY = re.compile(r"([a-z][a-z0-9+.-]+)://", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Address:
    """Where an object or a folder is.

    Attributes:
        url: with all that gives access, for the store alone. `str` shows it without.
    """

    url: str

    def __str__(self) -> str:
        scheme, _, rest = self.url.partition("://")
        if self.is_on_the_web:
            rest = re.split(r"[?#]", rest, maxsplit=1)[0]
        place, slash, path = rest.partition("/")
        return f"{scheme}://{place.rpartition('@')[2]}{slash}{path}"

    def __repr__(self) -> str:
        return f"Address({str(self)!r})"

    @property
    def scheme(self) -> str:
        """One of SCHEMES."""
        return self.url.partition("://")[0]

    @property
    def is_on_the_web(self) -> bool:
        """Whether a web server is asked, which can only be read from."""
        return self.scheme in WEB

    @property
    def is_signed(self) -> bool:
        """Whether a query gives access, to that one object."""
        return self.is_on_the_web and bool(urlsplit(self.url).query)

    @property
    def names_a_folder(self) -> bool:
        """Whether it ends in a slash."""
        return str(self).endswith("/")

    @property
    def name(self) -> str:
        """Its last part: what the object or the folder is called."""
        last = str(self).rstrip("/").rpartition("/")[2]
        return unquote(last) if self.is_on_the_web else last

    @property
    def parent(self) -> Address:
        """The folder that it lies in; a bucket or a server is its own."""
        if self.is_signed:
            return Address(self.url.partition("?")[0]).parent
        above, _, _ = self.url.rstrip("/").rpartition("/")
        return self if above.endswith(":/") else Address(above)

    def child(self, name: str) -> Address:
        """What lies in it under a name, which may have slashes."""
        return Address(f"{self.url.rstrip('/')}/{name}")


def is_address(value: Any) -> bool:
    """Whether a path, as it was given, is meant as an address; a path of one of the known schemes, or anything://."""
    if not isinstance(value, (str, os.PathLike)):
        return False
    text = os.fspath(value)
    return isinstance(text, str) and bool(_KNOWN.match(text) or _ANY.match(text))


def parse_address(value: str | os.PathLike[str]) -> Address:
    """An address as it was given.

    Raises:
        InputError: it is of another scheme.
    """
    text = os.fspath(value)
    known = _KNOWN.match(text)
    if known is None:
        scheme = text.partition("://")[0]
        remedy = "Give the path of the file" if scheme == "file" else f"Use {', '.join(SCHEMES)}, or a local path"
        raise InputError(f"{scheme}:// addresses are not taken", remedy=remedy)
    return Address(f"{known[1].lower()}://{text[known.end() :]}")


def shown(value: object) -> str:
    """A path or an address as people may see it."""
    if isinstance(value, (str, os.PathLike)) and _KNOWN.match(os.fspath(value)):
        return str(parse_address(value))
    return str(value)
