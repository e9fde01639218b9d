"""What TorchServe and its workers print: held back until a model is ready, and read for causes."""

import re
import sys
import tempfile
from collections.abc import Callable
from threading import Lock, Thread
from typing import IO

from skelift.serving.settings import WORKERS

_LINE = re.compile(r"\S+ (?P<level>[A-Z]+) +(?P<logger>\w+) (?P<text>.*)")  # see log4j2.xml
_EXCEPTION = re.compile(r"[\w.]*[A-Z]\w*(: .+)?")
_JAVA = re.compile(
    r"(?:[a-z]\w*\.)+[A-Z]\w*(?:Exception|Error)\b.*|Error: .+|.*insufficient memory.*"
)
# TorchServe's own, after the exception that tells more.
_FOLLOWS = re.compile(r"RuntimeError: \d{3} - |ModuleNotFoundError: .*'ts\.torch_handler\.")
_STARTED, _DIED = "Torch worker started.", "Backend worker process died."
_LOST = ("Load model failed", "Backend worker error")
_SILENT = "it ends without a word, as when memory is short or somebody kills it"
_MOST_HELD = 10_000  # lines


class Log:
    """Reads a process's output in a thread.

    Args:
        stream: the output.
        failed: is called with the reason, in one line, each time that a worker cannot start.
    """

    def __init__(self, stream: IO[bytes], failed: Callable[[str], None]) -> None:
        self._failed = failed
        self._lock = Lock()
        self._held: list[str] | None = []
        self._exception = ""  # the latest of a worker
        self._dying = False
        self._lost = 0
        self._java = ""  # the latest of Java
        self._thread = Thread(target=self._read, args=(stream,), daemon=True)
        self._thread.start()

    def release(self) -> None:
        """Pass on the warnings and errors that were held back, and all that comes."""
        with self._lock:
            held, self._held = self._held or [], None
            self._lost = 0
            sys.stderr.writelines(line for line in held if _is_warning(line))

    def end(self) -> str:
        """Why the process has ended by itself, in one line."""
        self._thread.join(1)
        return self._java or (self._held or ["it says nothing"])[-1].strip()

    def keep(self) -> str:
        """Write what was held back to a file; its path."""
        with tempfile.NamedTemporaryFile(
            "w", prefix="skelift-serve-", suffix=".log", delete=False, encoding="utf-8"
        ) as file:
            file.writelines(self._held or [])
        return file.name

    def _read(self, stream: IO[bytes]) -> None:
        for raw in stream:
            line = raw.decode("utf-8", "replace")
            with self._lock:
                if self._held is None:
                    sys.stderr.write(line)
                elif len(self._held) < _MOST_HELD:
                    self._held.append(line)
            self._understand(line.rstrip())

    def _understand(self, line: str) -> None:
        logged = _LINE.fullmatch(line)
        if logged is None or logged["logger"] != "MODEL_LOG":
            found = _JAVA.search(logged["text"] if logged else line)
            self._java = found[0] if found else self._java
        text = logged["text"] if logged else line
        if text == _STARTED:
            self._exception, self._dying = "", False
        elif text == _DIED:
            self._dying = True
        elif logged and logged["logger"] == "MODEL_LOG" and _EXCEPTION.fullmatch(text):
            if not (self._exception and _FOLLOWS.match(text)):
                self._exception = text
            if self._dying:
                self._failed(self._exception or text)
        elif text.startswith(_LOST):
            self._lost += 1
            if self._lost > WORKERS:  # each of them again
                self._failed(self._exception or _SILENT)


def _is_warning(line: str) -> bool:
    logged = _LINE.fullmatch(line.rstrip())
    return bool(logged and logged["level"] in ("WARN", "ERROR"))
