"""A placeholder that nobody replaced is reported with its path, also where it breaks the YAML."""

import json
from typing import Any

import pytest

from tests.support.config_problems import problems_of
from vmpooler_tasks.config import load_settings


def warnings(data: Any, **environ: str) -> tuple[str, ...]:
    return load_settings({"VMPOOLER_CONFIG": json.dumps(data), **environ}).warnings


@pytest.mark.parametrize(
    "text",
    [
        "${TARGET}",
        "$(TARGET)",
        "a-${X}-b",
        "<%= @x %>",
        "<% if x %>",
        "{{ target }}",
        "{{target}}",
        "{% x %}",
        "%{hiera('x')}",
    ],
)
def test_placeholder_in_a_value(text: str) -> None:
    [line] = warnings({"config": {"clone_target": text}})
    assert line.startswith("config.clone_target: the placeholder ")
    assert line.endswith(" was not replaced, and is used as it is written")


@pytest.mark.parametrize("text", ["$5", "{x}", "a { b }", "100%", "<b>", "$(x y)", "$x", "#{x}", "%"])
def test_other_marks_are_no_placeholder(text: str) -> None:
    assert warnings({"config": {"clone_target": text}}) == ()


def test_every_section_is_searched_but_regular_expressions() -> None:
    found = warnings(
        {
            ":redis": {"server": "h", "username": "${USER}"},
            ":providers": {":east": {"nested": [{"x": "{{ y }}"}]}},
            ":auth": {":ldap": {"host": "<%= ldap %>"}},
            ":pools": [{"name": "a"}, {"name": "b", "template": "t/${OS}"}],
            ":tagfilter": {"url": "(.*)${x}"},
        }
    )
    assert [line.partition(":")[0] for line in found] == [
        "redis.username",
        "providers.east.nested[0].x",
        "auth.ldap.host",
        "pools[1].template",
    ]


def test_value_of_a_secret_is_not_shown() -> None:
    [line] = warnings({"redis": {"password": "hunter2${SALT}"}})
    assert line == "redis.password: a placeholder was not replaced, and is used as it is written"


def test_placeholder_in_the_environment() -> None:
    assert warnings({}, CLONE_TARGET="${CLUSTER}") == (
        "config.clone_target: the placeholder ${CLUSTER} was not replaced, and is used as it is written",
    )


def test_placeholder_in_the_name_of_an_option() -> None:
    [line] = warnings({"providers": {"<%= name %>": {}}})
    assert line == "providers.<%= name %>: the name of this option contains a placeholder that was not replaced"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (":config:\n  prefix: {{ prefix }}\n", "line 2, column 12: the placeholder {{ prefix }} was not replaced"),
        (":redis:\n  password: {{ redis_password }}\n", "the placeholder {{ redis_password }} was not replaced"),
        (":config:\n  dlq_ttl: 5\n<% if x %>\n  dlq_enabled: true\n", "the placeholder <% if x %> was not replaced"),
        (":config:\n  {% if x %}\n  dlq_enabled: true\n", "the placeholder {% if x %} was not replaced"),
    ],
)
def test_placeholder_that_breaks_the_yaml(text: str, shown: str) -> None:
    [problem] = problems_of(text)
    assert shown in problem


def test_number_that_is_a_placeholder() -> None:
    assert problems_of(":config:\n  dlq_ttl: ${TTL}\n") == ["config.dlq_ttl: '${TTL}' must be a number"]
