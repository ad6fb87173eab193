"""Local paths that stand for addresses, by which messages show what the user named.

Known to one process: workers are told (`known_names`, `know`).
"""

from __future__ import annotations

import re

END = r"(?=$|[/\\\s:,;)'\"]|\.(?:\s|$))"  # a name ends here, or goes on below
_SHOWN: dict[str, str] = {}  # local path -> address, without what gives access


def know(path: str, address: str) -> None:
    """From now on messages show this local path, and all that lies under it, as that address."""
    _SHOWN[path] = address.rstrip("/")


def forget(path: str) -> None:
    """It is a path like others again."""
    _SHOWN.pop(path, None)


def known_names() -> dict[str, str]:
    """All that are known, for another process's `know`."""
    return dict(_SHOWN)


def with_addresses(text: str) -> str:
    """A message with addresses in the place of the paths that stand for them."""
    for path in sorted(_SHOWN, key=len, reverse=True):
        if path in text:
            text = re.sub(re.escape(path) + END, lambda _, path=path: _SHOWN[path], text)  # type: ignore[misc]
    return text
