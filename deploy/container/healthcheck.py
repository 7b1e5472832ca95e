#!/usr/bin/env python3
"""Whether what this container runs is alive, told by what its first process is; nothing outside is looked at.

A worker or a beat touches a file while its main loop turns; web and Flower answer by HTTP. Exit status 0: alive.
It needs Python's own library alone, and takes some hundredths of a second.
"""

import os
import ssl
import sys
import time
import urllib.request
from pathlib import Path

MOST_SECONDS = 60
"""Between two signs of life: the loop gives one every five seconds, and may wait for an answer of Redis."""


def main() -> int:
    words = Path("/proc/1/cmdline").read_bytes().decode(errors="replace").split("\0")
    try:
        if "flower" in words:
            _answers(f"http://127.0.0.1:{_port(words, '5555')}/healthcheck")
        elif "web" in words:
            scheme = "https" if os.environ.get("WEB_TLS_CERTIFICATE") else "http"
            _answers(f"{scheme}://127.0.0.1:{_port(words, os.environ.get('WEB_PORT', '8080'))}/healthz")
        else:
            return _pulse(os.environ.get("VMPOOLER_PULSE_FILE", "/tmp/pulse"))  # noqa: S108 - the container's own
    except OSError as error:
        sys.stderr.write(f"not alive: {error}\n")
        return 1
    return 0


def _answers(address: str) -> None:
    """Raises OSError unless it does. The certificate is for others' names, not for loopback."""
    context = ssl._create_unverified_context() if address.startswith("https") else None  # noqa: S323, SLF001
    urllib.request.urlopen(address, timeout=4, context=context).close()  # noqa: S310 - one of the two above


def _port(words: list[str], usual: str) -> str:
    """The one on the command line, as `--port=N` or `--port N`."""
    for word, following in zip(words, [*words[1:], ""], strict=True):
        name, _, value = word.partition("=")
        if name == "--port":
            return value or following
    return usual


def _pulse(file: str) -> int:
    try:
        seconds = time.time() - Path(file).stat().st_mtime
    except FileNotFoundError:
        sys.stderr.write(f"not alive: there is no {file}\n")
        return 1
    if seconds > MOST_SECONDS:
        sys.stderr.write(f"not alive: the last sign of life is {seconds:.0f} s old\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
