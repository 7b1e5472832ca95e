"""Python imports this at its start if it is on PYTHONPATH: the process' clock is wrong by ZOO_CLOCK seconds.

Everything that reads the clock of the machine shows the wrong time: `time` and `datetime`. The timer is right.
"""

import datetime as dt
import os
import time
from collections.abc import Callable
from typing import Any, Self

AHEAD = float(os.environ["ZOO_CLOCK"])

_right, _right_ns = time.time, time.time_ns


def _wrong() -> float:
    return _right() + AHEAD


class _OfNow:
    """gmtime, localtime or ctime with the wrong time as its default. `logging` has one as an attribute of a class."""

    def __init__(self, convert: Callable[[float], Any]) -> None:
        self._convert = convert

    def __call__(self, seconds: float | None = None) -> Any:
        return self._convert(_wrong() if seconds is None else seconds)


class _AnyDatetime(type):
    """Makes every datetime an instance of the class that takes its place."""

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, _RIGHT_DATETIME)

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, _RIGHT_DATETIME)


_RIGHT_DATETIME = dt.datetime


class _WrongDatetime(_RIGHT_DATETIME, metaclass=_AnyDatetime):
    @classmethod
    def now(cls, tz: dt.tzinfo | None = None) -> Self:
        return cls.fromtimestamp(_wrong(), tz)

    @classmethod
    def utcnow(cls) -> Self:
        return cls.fromtimestamp(_wrong(), dt.UTC).replace(tzinfo=None)

    @classmethod
    def today(cls) -> Self:
        return cls.fromtimestamp(_wrong())


time.time = _wrong
time.time_ns = lambda: _right_ns() + int(AHEAD * 1e9)
for _name in ("gmtime", "localtime", "ctime"):
    setattr(time, _name, _OfNow(getattr(time, _name)))
dt.datetime = _WrongDatetime  # type: ignore[misc]
