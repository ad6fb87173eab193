"""What fails on the way to a store and back: what passes is tried again, the rest becomes one line.

Messages are made of kinds and codes, never of a library's own text, which may hold a signed URL.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

from bpr_cli.errors import InputError, to_install
from bpr_cli.stores.addresses import Address

T = TypeVar("T")

ATTEMPTS = 6
FIRST_WAIT = 0.25  # seconds; twice as much before each further attempt, and up to half as much again by chance
PATIENCE = 90.0  # seconds after which nothing is begun anew

PASSING_STATES = {408, 425, 429, 500, 502, 503, 504}  # of HTTP
PASSING_CODES = {
    *("InternalError", "ServiceUnavailable", "SlowDown", "RequestTimeout", "Throttling"),
    *("OperationAborted", "BadDigest", "IncompleteBody", "XAmzContentSHA256Mismatch"),
}
DENIED_STATES = {401, 403, 407}
# Other packages' errors, by name: they need not be installed.
NO_CREDENTIALS = {"NoCredentialsError", "PartialCredentialsError", "ProfileNotFound", "DefaultCredentialsError"}
TIMEOUTS = {"FSTimeoutError", "ReadTimeoutError", "ConnectTimeoutError", "ServerTimeoutError", "TimeoutError"}
CUT = {
    *("IncompleteReadError", "IncompleteRead", "ClientPayloadError", "ContentLengthError", "CutOffError"),
    "FlexibleChecksumError",
}
CONNECTIONS = {
    *("EndpointConnectionError", "ConnectionClosedError", "ClientConnectionError", "ServerDisconnectedError"),
    *("HTTPClientError", "ResponseParserError", "ConnectError", "ReadError", "RemoteProtocolError"),
}
PERMANENT = {"ParamValidationError", "InvalidURL", "TypeError", "AttributeError", "NotImplementedError"}
INSTALL = {
    "s3": to_install("stores"),
    "https": to_install("stores"),
    "http": to_install("stores"),
    "gs": "pip install gcsfs",
    "hf": "pip install huggingface_hub",
}
PACKAGES = {"s3": "s3fs", "https": "aiohttp", "http": "aiohttp", "gs": "gcsfs", "hf": "huggingface_hub"}
CREDENTIALS = {
    "s3": "Set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; for a public bucket FSSPEC_S3_ANON=1",
    "gs": "Log in with gcloud auth application-default login, or set GOOGLE_APPLICATION_CREDENTIALS",
    "hf": "Log in with hf auth login, or set HF_TOKEN",
}


_own = threading.local()  # `stopped` of this thread


def stop_trying_when(stopped: threading.Event) -> None:
    """In this thread nothing is tried again once an event has happened: the process is ending."""
    _own.stopped = stopped


class CutOffError(OSError):
    """Fewer bytes came than there are."""


class Fault(NamedTuple):
    """What an error means.

    Attributes:
        problem: what went wrong.
        remedy: what the user can do.
        passes: whether it may be otherwise the next time.
    """

    problem: str
    remedy: str
    passes: bool = False


def with_retries(address: Address, doing: str, action: Callable[[], T]) -> T:
    """What an action on a store gives, which is tried again as long as its errors may pass.

    Args:
        address: what it is about.
        doing: as messages say it: "read", "written", "listed".
        action: may be called several times.

    Raises:
        InputError: it failed for good, or ATTEMPTS times, or for longer than PATIENCE.
    """
    begun = time.monotonic()
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return action()
        except (InputError, MemoryError):
            raise
        except Exception as error:  # whatever a store's library raises
            fault = fault_of(error, address)
        waiting = FIRST_WAIT * 2 ** (attempt - 1) * (1 + random.random() / 2)
        if not fault.passes:
            break
        if attempt == ATTEMPTS or time.monotonic() - begun + waiting > PATIENCE:
            times = f"{attempt} times" if attempt > 1 else "once"
            raise InputError(
                f"it could not be {doing}: tried {times}, {fault.problem}", file=str(address), remedy=fault.remedy
            )
        if getattr(_own, "stopped", threading.Event()).wait(waiting):
            break
    raise InputError(f"it cannot be {doing}: {fault.problem}", file=str(address), remedy=fault.remedy)


def fault_of(error: BaseException, address: Address) -> Fault:
    """What an error of a store's library, or one that caused it, means."""
    chain = list(_chain(error))
    names = {kind.__name__ for each in chain for kind in type(each).__mro__}
    states = [state for each in chain if (state := _state(each)) is not None]
    codes = [code for each in chain if (code := _code(each)) is not None]
    said = next((f"the store answered {answer}" for answer in [*states, *codes]), None)
    if "ImportError" in names:
        return Fault(f"{address.scheme}:// needs {PACKAGES[address.scheme]}", INSTALL[address.scheme])
    if names & NO_CREDENTIALS:
        return Fault("there are no credentials", CREDENTIALS.get(address.scheme, "Log in"))
    if PASSING_STATES & set(states) or PASSING_CODES & set(codes):
        return Fault(said or "", "The store has trouble: run it again later", passes=True)
    if names & {"PermissionError"} or DENIED_STATES & set(states):
        return Fault("access is denied", "Check the credentials, and what they allow")
    if "FileNotFoundError" in names or 404 in states:
        return Fault("there is no such object", "Check the address")
    if names & TIMEOUTS:
        return Fault("no answer came in time", "Check the network, and run it again", passes=True)
    if names & CUT:
        return Fault("the answer was cut off", "Check the network, and run it again", passes=True)
    if names & CONNECTIONS or "ConnectionError" in names:
        return Fault(
            "the connection failed", "Check the network and the store's endpoint, and run it again", passes=True
        )
    if said is not None:
        return Fault(said, "Check the address and the credentials")
    passes = not names & PERMANENT
    return Fault(f"the store's library failed ({type(error).__name__})", "Check the address and the network", passes)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what caused it."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _state(error: BaseException) -> int | None:
    """The state of HTTP that an error tells of."""
    response: Any = getattr(error, "response", None)
    if isinstance(response, dict):
        response = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    else:
        response = getattr(response, "status_code", None)
    for value in (response, getattr(error, "status", None) or getattr(error, "code", None)):
        if isinstance(value, int) and 400 <= value < 600:
            return value
    return None


def _code(error: BaseException) -> str | None:
    """The code of S3 that an error tells of: "SlowDown"."""
    response = getattr(error, "response", None)
    code = response.get("Error", {}).get("Code") if isinstance(response, dict) else None
    return code if isinstance(code, str) and code.isalnum() else None
