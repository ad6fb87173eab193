"""A checkup as text to be pasted into a report."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from bpr_cli.doctor.checkup import Checkup, without_user
from bpr_cli.doctor.machine import GIB
from bpr_cli.errors import to_install

MIB = 1 << 20


def as_text(checkup: Checkup) -> str:
    """Lines under headings, without names of users and of their folders."""
    return without_user("\n".join(_lines(checkup)))


def _lines(checkup: Checkup) -> Iterator[str]:
    facts = checkup.facts
    yield from _section("versions", facts["versions"])
    yield from _section("machine", facts["machine"])
    yield from _section("devices", facts["devices"])
    engines = [(f"{e['engine']} on {e['device']}", f"{e['precision']}: {e['why']}") for e in facts["engines"]]
    yield from _section("engines, the one that auto takes first", engines)
    models = {
        model["name"]: f"{model['bytes'] / MIB:.1f} MiB, {'; '.join(model['faults']) or 'whole'}"
        for model in facts["models"]
    }
    yield from _section("models", models)
    caches = {}
    for cache in facts["caches"]:
        size = "" if cache["bytes"] is None else f"{cache['bytes'] / MIB:.1f} MiB, "
        writable = "writable" if cache["writable"] else "NOT writable"
        caches[cache["name"]] = f"{cache['folder']}, {size}{cache['free'] / GIB:.1f} GiB free, {writable}"
    yield from _section("caches", caches)
    extras = {
        extra: f"lacks {', '.join(lacks)}: {to_install(extra)}" if lacks else "complete"
        for extra, lacks in facts["extras"].items()
    }
    yield from _section("extras", extras)
    yield "problems"
    if not checkup.problems:
        yield "  none"
    for problem in checkup.problems:
        yield f"  {'serious' if problem.is_serious else 'minor'}: {problem.text}. {problem.remedy}."


def _section(title: str, lines: Mapping[str, str] | Iterable[tuple[str, str]]) -> Iterator[str]:
    rows = list(lines.items()) if isinstance(lines, Mapping) else list(lines)
    yield title
    width = max((len(name) for name, _ in rows), default=0)
    for name, value in rows:
        yield f"  {name:<{width}}  {value}"
    if not rows:
        yield "  none"
