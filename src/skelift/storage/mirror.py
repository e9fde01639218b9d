"""A folder that is kept in a bucket while somebody writes into it, such as checkpoints."""

import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

from skelift.errors import InputError, RunError
from skelift.storage.bucket import Location
from skelift.storage.folders import pull, push, pushed_at
from skelift.storage.manifest import visible_files

LOOK_S = 2.0  # seconds between two looks at the folder

State = Mapping[Path, tuple[int, int]]  # file -> size, time of its last change


@contextmanager
def mirrored(folder: Path, where: Location, *, pushes: bool) -> Iterator[None]:
    """Keep ``where`` equal to a folder as long as the block runs, and after it.

    What was pushed later than the folder was last written to is pulled first. A push that fails
    meanwhile is reported and tried again at the next change: the work in the block is worth more.

    Args:
        folder: local folder, which need not exist; its files appear whole or grow at their end.
        where: its place in the bucket.
        pushes: False for a process that only takes part: it pulls, and another one pushes.

    Raises:
        InputError, RunError: as of ``pull`` and ``push``, at the start or at the end.
    """
    pushed = pushed_at(where)
    last_change_s = max((changed / 1e9 for _, changed in _state(folder).values()), default=0.0)
    if pushed and pushed.timestamp() > last_change_s:
        pull(where, folder)
    if not pushes:
        yield
        return
    mirror = _Mirror(folder, where)
    mirror.start()
    try:
        yield
    finally:
        mirror.finish()
    mirror.push()


class _Mirror(Thread):
    """Looks at a folder now and then, and pushes it when it has changed."""

    def __init__(self, folder: Path, where: Location) -> None:
        super().__init__(daemon=True)
        self._folder, self._where = folder, where
        self._pushed: State = {}
        self._tried: State = {}
        self._ends = Event()

    def run(self) -> None:
        while not self._ends.wait(LOOK_S):
            self._attempt()
        self._attempt()

    def finish(self) -> None:
        """End after a last look."""
        self._ends.set()
        self.join()

    def push(self) -> None:
        """Push the folder if it has changed. One that was emptied stays as it was in the bucket."""
        self._tried = state = _state(self._folder)
        if not state or state == self._pushed:
            return
        still = self._folder.with_name(f".{self._folder.name}.still")  # of files that grow
        shutil.rmtree(still, ignore_errors=True)  # of a process that was killed
        still.mkdir()
        try:
            for path in sorted(state):  # a checkpoint before the statistics that lead up to it
                target = still / path.relative_to(self._folder)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
            push(still, self._where, show=False)
        finally:
            shutil.rmtree(still)
        self._pushed = state

    def _attempt(self) -> None:
        try:
            if _state(self._folder) != self._tried:
                self.push()
        except FileNotFoundError:
            return  # a file was removed meanwhile: the next look sees another state
        except (InputError, RunError) as error:
            print(f"warning: {self._folder} is not pushed: {error}", file=sys.stderr)


def _state(folder: Path) -> State:
    status = {path: path.stat() for path in visible_files(folder)}
    return {path: (about.st_size, about.st_mtime_ns) for path, about in status.items()}
