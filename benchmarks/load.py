"""Many requests at once over kept connections, from threads of this process."""

import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from threading import Lock
from typing import Any

TIMEOUT = 60.0
UNANSWERED = 0


@dataclass(frozen=True)
class Call:
    """An HTTP request.

    Attributes:
        path: below the server's address.
        body: what is sent; None sends none.
        method: of HTTP.
        headers: of HTTP.
        expected: whatever the caller wants to compare the answer with.
    """

    path: str
    body: bytes | None = None
    method: str = "POST"
    headers: Mapping[str, str] = field(default_factory=dict)
    expected: Any = None


@dataclass(frozen=True)
class Reply:
    """An HTTP answer, and the seconds until all of it was here. Status 0 is none."""

    status: int
    body: bytes
    seconds: float


def send_all(
    port: int, calls: Iterable[Call], at_once: int, then: Callable[[Call, Reply], None]
) -> None:
    """Send calls to a server of this machine, ``at_once`` at any time, each once.

    Args:
        port: where it listens.
        calls: taken one by one.
        at_once: connections.
        then: gets every call with its reply, in the thread that sent it.
    """
    waiting, lock = iter(calls), Lock()

    def work() -> None:
        connection = HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
        while True:
            with lock:
                call = next(waiting, None)
            if call is None:
                connection.close()
                return
            then(call, send(connection, call))

    with ThreadPoolExecutor(at_once) as pool:
        try:
            for done in [pool.submit(work) for _ in range(at_once)]:
                done.result()
        except BaseException:  # stopped: the pool waits for calls under way, not for all
            with lock:
                waiting = iter(())
            raise


def send(connection: HTTPConnection, call: Call) -> Reply:
    """Send a call and read its answer."""
    started = time.perf_counter()
    try:
        connection.request(call.method, call.path, call.body, dict(call.headers))
        answer = connection.getresponse()
        status, body = answer.status, answer.read()
    except (HTTPException, OSError) as error:
        connection.close()
        status, body = UNANSWERED, repr(error).encode()
    return Reply(status, body, time.perf_counter() - started)
