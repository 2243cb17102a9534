"""Results that are fetched by a link: kept in memory for a while, few and small enough to stay there."""

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

MEDIA_TYPES = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}


class FileStore:
    """Files in memory under names that nobody can guess; the oldest make room for new ones.

    Args:
        seconds: how long a file is kept.
        max_files: how many at most.
        max_bytes: how large all of them together at most; the newest is kept in any case.
        clock: seconds from any start.
    """

    def __init__(
        self,
        seconds: float = 3600.0,
        max_files: int = 256,
        max_bytes: int = 512 * 2**20,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.seconds, self.max_files, self.max_bytes, self.clock = seconds, max_files, max_bytes, clock
        self._files: OrderedDict[str, tuple[float, bytes]] = OrderedDict()
        self._num_bytes = 0
        self._lock = threading.Lock()

    def add(self, content: bytes, suffix: str) -> str:
        """Returns the name under which a file is kept; `suffix` is one of `MEDIA_TYPES`."""
        name = f"{secrets.token_urlsafe(24)}.{suffix}"
        with self._lock:
            self._files[name] = self.clock() + self.seconds, content
            self._num_bytes += len(content)
            while len(self._files) > 1 and (
                len(self._files) > self.max_files or self._num_bytes > self.max_bytes
            ):
                self._drop_oldest()
        return name

    def get(self, name: str) -> bytes | None:
        """Returns a file, or None where it is not, or no longer, there."""
        with self._lock:
            while self._files and next(iter(self._files.values()))[0] <= self.clock():
                self._drop_oldest()
            return self._files[name][1] if name in self._files else None

    def _drop_oldest(self) -> None:
        _, (_, content) = self._files.popitem(last=False)
        self._num_bytes -= len(content)
