#!/usr/bin/env python3
"""Check whether the main process of this container is alive: exit status 0 if it is. Nothing outside is checked.

A worker or beat touches a file while its main loop runs. Web and Flower respond to HTTP. This program needs only the
standard library of Python, and takes some hundredths of a second.
"""

import os
import ssl
import sys
import time
import urllib.request
from pathlib import Path

MAX_SECONDS = 60
"""Maximum age of the file. The loop touches it every five seconds, and may wait for a reply of Redis."""


def main() -> int:
    words = Path("/proc/1/cmdline").read_bytes().decode(errors="replace").split("\0")
    try:
        if "flower" in words:
            _expect_response(f"http://127.0.0.1:{_port(words, '5555')}/healthcheck")
        elif "web" in words:
            scheme = "https" if os.environ.get("WEB_TLS_CERTIFICATE") else "http"
            _expect_response(f"{scheme}://127.0.0.1:{_port(words, os.environ.get('WEB_PORT', '8080'))}/healthz")
        else:
            return _pulse(os.environ.get("VMPOOLER_PULSE_FILE", "/tmp/pulse"))  # noqa: S108 - the container's own
    except OSError as error:
        sys.stderr.write(f"not alive: {error}\n")
        return 1
    return 0


def _expect_response(address: str) -> None:
    """Request the address. Raise OSError if it does not respond. The certificate need not be valid for loopback."""
    context = ssl._create_unverified_context() if address.startswith("https") else None  # noqa: S323, SLF001
    urllib.request.urlopen(address, timeout=4, context=context).close()  # noqa: S310 - one of the two above


def _port(words: list[str], default: str) -> str:
    """Return the port of the command line (`--port=N` or `--port N`), else the default."""
    for word, following in zip(words, [*words[1:], ""], strict=True):
        name, _, value = word.partition("=")
        if name == "--port":
            return value or following
    return default


def _pulse(file: str) -> int:
    try:
        seconds = time.time() - Path(file).stat().st_mtime
    except FileNotFoundError:
        sys.stderr.write(f"not alive: there is no {file}\n")
        return 1
    if seconds > MAX_SECONDS:
        sys.stderr.write(f"not alive: the main loop last ran {seconds:.0f} s ago\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
