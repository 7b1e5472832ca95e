"""The output of a local run: one line for each line of its processes, short enough for a terminal.

`vmpooler.log` keeps the same lines in full. The guide's commands read this file.
"""

import logging
import os
import re
import shutil
import signal
import sys
from collections.abc import Sequence
from itertools import cycle
from logging.handlers import RotatingFileHandler
from pathlib import Path

from vmpooler_tasks.model.names import on_one_line

SYSTEM = "system"
PREFIX_COLOURS = (36, 33, 32, 35, 34, 96, 93, 92)

MAX_FILE_BYTES = 20_000_000
"""vmpooler.log starts anew at this size; the lines before are in vmpooler.log.1."""

_CELERY = re.compile(r"\[\d{4}-\d\d-\d\d (?P<time>[\d:]{8}),\d+: (?P<level>[A-Z]+)/[^\]]+\] (?P<text>.*)")
_PLAIN = re.compile(r"\d{4}-\d\d-\d\d (?P<time>[\d:]{8}),\d+ (?P<level>[A-Z]+) (?P<text>.*)")
_TASK = re.compile(r"vmpooler_tasks\.(\w+)\[[\w-]+\]")
_GUIDES_MARK = re.compile(r"^\w+: (?=\[[ *!+>-]\] \[)")
"""A task before a line of the guide, which names what it is about by itself."""
_SHOWN_LEVELS = {"ERROR", "CRITICAL"}


class Log:
    """Prefix each line with the process that wrote it, print it short, and append it in full to a file."""

    def __init__(self, names: Sequence[str], file: Path) -> None:
        self._width = max(map(len, (SYSTEM, *names)))
        colours = cycle(PREFIX_COLOURS)
        self._colours = {name: next(colours) for name in names}
        self._file = RotatingFileHandler(file, maxBytes=MAX_FILE_BYTES, backupCount=1, encoding="utf-8", delay=True)

    def line(self, name: str, text: str) -> None:
        """Print and keep one line. Control characters are escaped: a process may print what somebody else chose."""
        if not text.strip():
            return
        text = on_one_line(text)
        self._file.emit(logging.makeLogRecord({"msg": f"{name:<{self._width}} | {text}"}))
        prefix, shown = f"{name:<{self._width}} | ", shorten(text)
        if sys.stdout.isatty():
            shown = cut(shown, shutil.get_terminal_size().columns - len(prefix))
            prefix = f"\x1b[{self._colours.get(name, 37)}m{prefix}\x1b[0m"
        print_or_stop(f"{prefix}{shown}\n")

    def close(self) -> None:
        self._file.close()


def shorten(line: str) -> str:
    """Return the line of a process with the time of day alone, and without the ids of tasks."""
    found = _CELERY.fullmatch(line) or _PLAIN.fullmatch(line)
    if found is None:
        return line
    level = f"{found['level']} " if found["level"] in _SHOWN_LEVELS else ""
    text = _GUIDES_MARK.sub("", _TASK.sub(r"\1", found["text"]))
    return f"{found['time']} {level}{text}"


def cut(text: str, width: int) -> str:
    """Return the text in at most `width` characters; `…` stands for what is left out."""
    return text if len(text) <= width else f"{text[: max(width - 1, 0)]}…"


def print_or_stop(text: str) -> None:
    """Write to stdout. A reader that is gone (a closed terminal, `| head`) stops this process as SIGTERM does."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        os.kill(os.getpid(), signal.SIGTERM)
