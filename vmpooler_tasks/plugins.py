"""Find and create what an installed package provides by an entry point: a provider, or a DNS plugin."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from vmpooler_tasks.errors import ConfigurationError
from vmpooler_tasks.model.names import on_one_line
from vmpooler_tasks.model.redaction import redacted_text

T = TypeVar("T")

SOURCE = "the configuration"
"""The source in a ConfigurationError. The file or variable of a section is not known here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginKind(Generic[T]):
    """One kind of plugin: the group of its entry points, its section of the configuration, and its protocol.

    `noun` is its name in messages, and `package` the usual start of the name of a package that provides one.
    """

    group: str
    section: str
    noun: str
    package: str
    protocol: type[T]

    def installed(self) -> list[str]:
        """Return the names of all installed plugins of this kind, sorted."""
        return sorted({entry.name for entry in entry_points(group=self.group)})

    def load(self, name: str, wanted: str, context: Any) -> T:
        """Import the plugin `wanted` for the section's entry `name`, and call its factory with the context.

        Case does not matter, as in VMPooler. Raise ConfigurationError if that fails. A second call creates a second
        plugin.
        """
        return _Loading(self, name).load(wanted, context)


@dataclass(frozen=True, slots=True)
class _Loading(Generic[T]):
    kind: PluginKind[T]
    name: str

    def load(self, wanted: str, context: Any) -> T:
        entry = self._entry_point(wanted)
        factory = self._import(entry)
        try:
            plugin = factory(context)
        except ValidationError as error:
            raise ConfigurationError(SOURCE, self._wrong_options(error)) from error
        except Exception as error:  # foreign code may raise anything
            hint = _repair(entry) if isinstance(error, ImportError) else ""
            raise self._refused(f"{self._shown(entry)} cannot be used: {_redacted(error)}", hint) from error
        if not isinstance(plugin, self.kind.protocol):
            what = f"{self._shown(entry)} returned a {type(plugin).__name__}, which is not a {self.kind.noun}"
            raise self._refused(what, _repair(entry))
        return plugin

    def _import(self, entry: EntryPoint) -> Callable[[Any], Any]:
        try:
            factory: Callable[[Any], Any] = entry.load()
        except Exception as error:  # an import runs foreign code, which may raise anything
            if isinstance(error, ModuleNotFoundError) and entry.extras and error.name:
                raise self._without_extra(entry, error.name) from error
            what = f"{self._shown(entry)} cannot be imported: {_redacted(error)}"
            raise self._refused(what, _repair(entry)) from error
        return factory

    def _entry_point(self, wanted: str) -> EntryPoint:
        found = [entry for entry in entry_points(group=self.kind.group) if entry.name.casefold() == wanted.casefold()]
        if not found:
            what = f"no {self.kind.noun} {wanted!r} is installed"
            # The usual name of such a package. It may have another one, hence "e.g.".
            hint = f"install its package, e.g. pip install {self.kind.package}{wanted.lower()}"
            raise self._refused(what, hint)
        if len(found) > 1:
            packages = ", ".join(sorted(map(_package, found)))
            what = f"several packages have a {self.kind.noun} {wanted!r}: {packages}"
            raise self._refused(what, "uninstall all but one, e.g. pip uninstall " + _package(found[-1]))
        return found[0]

    def _shown(self, entry: EntryPoint) -> str:
        return f"{self.kind.noun} {entry.name!r} of {_package(entry)} ({entry.value})"

    def _without_extra(self, entry: EntryPoint, module: str) -> ConfigurationError:
        needed = f"{self.kind.noun} {entry.name!r} needs the Python module {module}, which is not installed"
        return self._problem(f"{needed}: {_command(entry)}")

    def _refused(self, what: str, hint: str = "") -> ConfigurationError:
        names = ", ".join(self.kind.installed()) or "none"
        return self._problem(f"{what} (installed: {names}){'; ' * bool(hint)}{hint}")

    def _problem(self, text: str) -> ConfigurationError:
        return ConfigurationError(SOURCE, [on_one_line(f"{self.kind.section}.{self.name}: {text}")])

    def _wrong_options(self, error: ValidationError) -> list[str]:
        """Return a line for each wrong option, without its value, which may be a secret."""
        return [
            f"{self._path(detail['loc'])}: {on_one_line(_words(detail['type'], detail['msg']))}"
            for detail in error.errors(include_url=False, include_context=False, include_input=False)
        ]

    def _path(self, location: Sequence[int | str]) -> str:
        steps = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in location)
        return f"{self.kind.section}.{self.name}{steps}"


def _package(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist else entry.module


def _repair(entry: EntryPoint) -> str:
    if entry.extras:  # they may not be installed
        return f"install what it needs: {_command(entry)}"
    return f"install the package and its dependencies again, e.g. pip install --upgrade {_package(entry)}"


def _command(entry: EntryPoint) -> str:
    """Return the command that installs the extras of the entry point."""
    return f"pip install '{_package(entry)}[{','.join(entry.extras)}]'"


def _redacted(error: Exception) -> str:
    return redacted_text(f"{type(error).__name__}: {error}".removesuffix(": "))


def _words(kind: str, message: str) -> str:
    if kind == "extra_forbidden":
        return "unknown option"
    return message.removeprefix("Value error, ").replace("Input should", "must", 1)
