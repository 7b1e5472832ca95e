"""Find the installed provider that a section of `:providers:` names.

A package provides one with an entry point of this group. Its name is the name in the configuration:

    [project.entry-points."vmpooler_tasks.providers"]
    vsphere = "vmpooler_tasks_vsphere:provider"
"""

from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points

from pydantic import ValidationError

from vmpooler_tasks.errors import ConfigurationError
from vmpooler_tasks.model.names import on_one_line
from vmpooler_tasks.model.redaction import redacted_text
from vmpooler_tasks.providers.protocol import Provider, ProviderContext

GROUP = "vmpooler_tasks.providers"

SOURCE = "the configuration"
"""The source in a ConfigurationError. The file or variable of a section is not known here."""


def installed() -> list[str]:
    """Return the names of all installed providers, sorted."""
    return sorted({entry.name for entry in entry_points(group=GROUP)})


def load(context: ProviderContext) -> Provider:
    """Import the provider that `provider_class` of the section names, else the section's name, and call its factory.

    Case does not matter, as in VMPooler. Raise ConfigurationError if that fails. A second call creates a second
    provider.
    """
    entry = _entry_point(context)
    try:
        factory = entry.load()
    except Exception as error:  # an import runs foreign code, which may raise anything
        raise _refused(context, f"{_shown(entry)} cannot be imported: {_redacted(error)}", _repair(entry)) from error
    try:
        provider = factory(context)
    except ValidationError as error:
        raise ConfigurationError(SOURCE, _wrong_options(context, error)) from error
    except Exception as error:  # as above
        hint = _repair(entry) if isinstance(error, ImportError) else ""
        raise _refused(context, f"{_shown(entry)} cannot be used: {_redacted(error)}", hint) from error
    if not isinstance(provider, Provider):
        what = f"{_shown(entry)} returned a {type(provider).__name__}, which is not a provider"
        raise _refused(context, what, _repair(entry))
    return provider


def _entry_point(context: ProviderContext) -> EntryPoint:
    wanted = str(context.options.get("provider_class") or context.name)
    found = [entry for entry in entry_points(group=GROUP) if entry.name.casefold() == wanted.casefold()]
    if not found:
        what = f"no provider {wanted!r} is installed"
        # The usual name of such a package. It may have another one, hence "e.g.".
        hint = f"install its package, e.g. pip install vmpooler-tasks-{wanted.lower()}"
        raise _refused(context, what, hint)
    if len(found) > 1:
        what = f"several packages have a provider {wanted!r}: {', '.join(sorted(map(_package, found)))}"
        raise _refused(context, what, "uninstall all but one, e.g. pip uninstall " + _package(found[-1]))
    return found[0]


def _package(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist else entry.module


def _shown(entry: EntryPoint) -> str:
    return f"provider {entry.name!r} of {_package(entry)} ({entry.value})"


def _repair(entry: EntryPoint) -> str:
    if entry.extras:  # of an extra of this project: it may not be installed
        return f"install what it needs: pip install '{_package(entry)}[{','.join(entry.extras)}]'"
    return f"install the package and its dependencies again, e.g. pip install --upgrade {_package(entry)}"


def _redacted(error: Exception) -> str:
    return redacted_text(f"{type(error).__name__}: {error}".removesuffix(": "))


def _refused(context: ProviderContext, what: str, hint: str = "") -> ConfigurationError:
    names = ", ".join(installed()) or "none"
    line = f"providers.{context.name}: {what} (installed: {names}){'; ' * bool(hint)}{hint}"
    return ConfigurationError(SOURCE, [on_one_line(line)])


def _wrong_options(context: ProviderContext, error: ValidationError) -> list[str]:
    """Return a line for each wrong option, without its value, which may be a secret."""
    return [
        f"{_path(context, detail['loc'])}: {on_one_line(_words(detail['type'], detail['msg']))}"
        for detail in error.errors(include_url=False, include_context=False, include_input=False)
    ]


def _path(context: ProviderContext, location: Sequence[int | str]) -> str:
    steps = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in location)
    return f"providers.{context.name}{steps}"


def _words(kind: str, message: str) -> str:
    if kind == "extra_forbidden":
        return "unknown option"
    return message.removeprefix("Value error, ").replace("Input should", "must", 1)
