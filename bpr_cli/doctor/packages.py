"""Which packages there should be, and which there are: the installed metadata, or pyproject.toml in a checkout."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path

from bpr_cli.errors import DISTRIBUTION

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

REQUIREMENT = re.compile(r"(?P<name>[A-Za-z0-9._-]+)\s*(?:\[[^\]]*\])?\s*\(?(?P<versions>[^;)]*)\)?")
EXTRA = re.compile(r"""extra\s*==\s*['"](?P<extra>[^'"]+)['"]""")
PYTHON = re.compile(r"""python_version\s*<\s*['"](?P<below>[0-9.]+)['"]""")
BOUND = re.compile(r"(?P<sign>>=|<=|==|<|>)\s*(?P<version>[0-9][0-9.]*)")


@dataclass(frozen=True, slots=True)
class Requirement:
    """A package that is wanted.

    Attributes:
        name: what pip knows it by.
        versions: as ">=2.4,<3".
        extra: of ours that wants it; None: it is needed.
    """

    name: str
    versions: str
    extra: str | None


def requirements() -> list[Requirement]:
    """What this distribution asks for on this Python; empty where neither metadata nor pyproject.toml is found."""
    try:
        lines: Iterable[str] = distribution(DISTRIBUTION).requires or ()
    except PackageNotFoundError:
        lines = _lines_of_project(Path(__file__).resolve().parents[2] / "pyproject.toml")
    found = [_parse(line) for line in lines]
    return [requirement for requirement in found if requirement is not None]


def lacking(wanted: Requirement) -> str | None:
    """What is wrong with a package, "missing" or "1.0 is installed, wanted is >=2.0"; None for nothing."""
    installed = installed_version(wanted.name)
    if installed is None:
        return "missing"
    if all(_holds(installed, *bound.groups()) for bound in BOUND.finditer(wanted.versions)):
        return None
    return f"{installed} is installed, wanted is {wanted.versions}"


def installed_version(name: str) -> str | None:
    """A package's version; None without."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def by_extra(wanted: Iterable[Requirement]) -> Mapping[str, list[Requirement]]:
    """Extra -> its packages; what an extra takes from our other extras is left to these."""
    found: dict[str, list[Requirement]] = {}
    for requirement in wanted:
        if requirement.extra is not None:
            packages = found.setdefault(requirement.extra, [])
            if _normal(requirement.name) != DISTRIBUTION:
                packages.append(requirement)
    return found


def _parse(line: str) -> Requirement | None:
    """None for a package that this Python does not need."""
    text, _, marker = line.partition(";")
    match = REQUIREMENT.match(text.strip())
    below = PYTHON.search(marker)
    if match is None or (below is not None and sys.version_info[:2] >= _release(below["below"])[:2]):
        return None
    extra = EXTRA.search(marker)
    return Requirement(match["name"], match["versions"].strip(), extra["extra"] if extra else None)


def _lines_of_project(path: Path) -> list[str]:
    if not path.is_file():
        return []
    project = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
    optional = project.get("optional-dependencies", {})
    return [*project["dependencies"], *(f"{line}; extra == '{name}'" for name in optional for line in optional[name])]


def _holds(installed: str, sign: str, wanted: str) -> bool:
    length = max(len(_release(installed)), len(_release(wanted)))
    first, second = (
        (*_release(text), *(0 for _ in range(length - len(_release(text))))) for text in (installed, wanted)
    )
    return {">=": first >= second, "<=": first <= second, "==": first == second, "<": first < second}.get(
        sign, first > second
    )


def _release(text: str) -> tuple[int, ...]:
    """The numbers of "2.13.0+cpu"; pre-releases count as what they come before."""
    match = re.match(r"[0-9]+(?:\.[0-9]+)*", text)
    return tuple(map(int, match[0].split("."))) if match else (0,)


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
