"""The tables of docs/configuration.md, made from the schema: `python -m tests.support.config_reference` prints them."""

import textwrap
from collections.abc import Iterator, Mapping

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from vmpooler_tasks.config.checks.problems import ENVIRONMENT_VARIABLES
from vmpooler_tasks.config.dns import DnsConfig
from vmpooler_tasks.config.pools import Pool
from vmpooler_tasks.config.schema import NESTED_OPTIONS, HealthThresholds, Options, RedisSection, as_yaml
from vmpooler_tasks.config.services import (
    Credential,
    GraphiteSection,
    NotifySection,
    NotifyTarget,
    StatsdSection,
    WebSection,
)
from vmpooler_tasks.config.vmpooler.options import API_OPTIONS, WITHOUT_EFFECT

UNITS = ("seconds", "minutes", "hours", "percent")
BEGIN, END = "<!-- made by: python -m tests.support.config_reference -->", "<!-- end -->"


def reference() -> str:
    """Return all tables, between their marks in the document."""
    environment = {
        section: {name: variable for variable, name in variables.items()}
        for section, variables in ENVIRONMENT_VARIABLES.items()
    }
    parts: tuple[tuple[str, type[BaseModel], dict[str, str]], ...] = (
        ("`:config:`", Options, {name: name.upper() for name in Options.model_fields if name not in NESTED_OPTIONS}),
        ("`health_thresholds:` in `:config:`", HealthThresholds, {}),
        ("`:redis:`", RedisSection, environment["redis"] | {"url": "REDIS_URL"}),
        ("each of `:pools:`", Pool, {}),
        ("each of `:dns_configs:`", DnsConfig, {}),
        ("`:statsd:`", StatsdSection, environment["statsd"]),
        ("`:graphite:`", GraphiteSection, environment["graphite"]),
        ("`:web:`", WebSection, environment["web"]),
        ("each of `users:` and `tokens:` in `:web:`", Credential, {}),
        ("`:notify:`", NotifySection, environment["notify"]),
        ("each of `targets:` in `:notify:`", NotifyTarget, {}),
    )
    tables = [f"### {title}\n\n" + "\n".join(_table(section, names)) for title, section, names in parts]
    return "\n\n".join([BEGIN, *tables, *_options_of_vmpooler(), END])


PLACES = {
    "config": "`:config:`",
    "pools": "each of `:pools:`",
    "redis": "`:redis:`",
    "sections": "the file",
    "providers": "each of `:providers:`",
    "providers.dummy": "`:dummy:` in `:providers:`",
}


def _options_of_vmpooler() -> Iterator[str]:
    yield (
        "### VMPooler's options without effect here\n\nThe other options of VMPooler's manager are honoured: they are "
        "in the tables above.\n\n| option | in | no effect here, because |\n|---|---|---|\n" + _rows(WITHOUT_EFFECT)
    )
    yield (
        "### Options of VMPooler's API server\n\nThe API server goes on reading them. These workers do not need them."
        "\n\n| option | in | meaning |\n|---|---|---|\n" + _rows(API_OPTIONS)
    )


def options_without_effect() -> str:
    """Return the list of docs/upgrading-from-vmpooler.md, between its marks."""
    lines = [
        f"- {PLACES[place]}: {', '.join(f'`{option}`' for option in options)}"
        for place, options in WITHOUT_EFFECT.items()
        if place != "providers.dummy" and options
    ]
    return "\n\n".join([BEGIN, "\n".join(textwrap.fill(line, 120, subsequent_indent="  ") for line in lines), END])


def _rows(table: Mapping[str, Mapping[str, str]]) -> str:
    return "\n".join(
        f"| `{option}` | {PLACES[place]} | {text} |"
        for place, options in table.items()
        for option, text in options.items()
    )


def _table(section: type[BaseModel], environment: dict[str, str]) -> Iterator[str]:
    yield "| option | default | unit | meaning | environment |"
    yield "|---|---|---|---|---|"
    for name, field in section.model_fields.items():
        variable = f"`{environment[name]}`" if name in environment else ""
        yield f"| `{name}` | {_default(field)} | {_unit(field)} | {field.description} | {variable} |"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "must be given"
    if isinstance(field.default, bool | int | float | str):
        return f"`{as_yaml(field.default)}`"
    if isinstance(field.default, tuple) and field.default:
        return f"`[{', '.join(field.default)}]`"
    return "see below" if field.default_factory else ""


def _unit(field: FieldInfo) -> str:
    if isinstance(field.default, bool):
        return "true, false"
    words = [word.strip(",;") for word in (field.description or "").split()]
    return next((unit for unit in UNITS if unit in words), "")


if __name__ == "__main__":
    print(reference(), options_without_effect(), sep="\n\n")
