"""For tests: the built program as a child process. KINESTREAM names it; without, they are skipped."""

import os
import pathlib
import signal
import socket
import subprocess
import threading
import unittest
from typing import List, Sequence

ROOT = pathlib.Path(__file__).resolve().parents[2]
LIMIT_S = 120.0


def program() -> str:
    """The built program; skips the test where none is named."""
    named = os.environ.get("KINESTREAM")
    if not named:
        raise unittest.SkipTest("KINESTREAM is not set to the built program, such as target/debug/kinestream")
    return named


def free_address() -> str:
    """HOST:PORT that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


class Running:
    """The program, from a word on its stderr that says that it is ready until Ctrl-C."""

    def __init__(self, arguments: Sequence[str], ready: str):
        self.said: List[str] = []
        self._ready = threading.Event()
        self._child = subprocess.Popen(
            [program(), *arguments],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, args=(ready,), daemon=True)
        self._reader.start()
        if not self._ready.wait(LIMIT_S) or self._child.poll() is not None:
            self.stop()
            raise AssertionError(f"kinestream {' '.join(arguments)} never said {ready!r}: {''.join(self.said)}")

    def signal(self, number: int) -> None:
        """Sends a signal."""
        self._child.send_signal(number)

    def kill(self) -> None:
        """kill -9."""
        self._child.kill()
        self._child.wait(LIMIT_S)

    def stop(self) -> None:
        """Ctrl-C, and its end."""
        if self._child.poll() is None:
            self._child.send_signal(signal.SIGINT)
        try:
            self._child.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            raise
        self._reader.join(LIMIT_S)

    def _read(self, ready: str) -> None:
        for line in self._child.stderr:
            self.said.append(line)
            if ready in line:
                self._ready.set()
        self._child.stderr.close()
        self._ready.set()
