"""docs/upgrading-from-vmpooler.md lists every difference: options, defaults, refused values, marked behaviour."""

import re

import pytest

from tests.support.config_problems import problems_of
from tests.support.config_reference import options_without_effect, reference
from tests.unit.docs.test_words import read
from vmpooler_tasks.config import Settings

PAGE = read("docs/upgrading-from-vmpooler.md")
BEHAVIOUR = read("docs/vmpooler-behaviour.md")


def sections_with_a_difference() -> list[str]:
    """Return the anchors of the sections that contain a `**Here:**`."""
    parts = re.split(r"^#{2,3} (.+)$", BEHAVIOUR, flags=re.MULTILINE)[1:]
    pairs = zip(parts[::2], parts[1::2], strict=True)
    return [title.lower().replace(" ", "-") for title, text in pairs if "**Here:**" in text]


def test_options_without_effect_are_listed() -> None:
    assert options_without_effect() in PAGE, "python -m tests.support.config_reference prints them"
    assert reference() in read("docs/configuration.md"), "python -m tests.support.config_reference prints them"


def test_every_difference_in_behaviour_is_linked() -> None:
    linked = set(re.findall(r"vmpooler-behaviour\.md#([\w-]+)", PAGE))
    assert [anchor for anchor in sections_with_a_difference() if anchor not in linked] == []


def test_default_of_ready_ttl_is_described_as_it_is() -> None:
    says_so = "The only other default is that of `ready_ttl`" in " ".join(PAGE.split())
    assert says_so == (Settings().config.ready_ttl != 60)


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ("`dlq_ttl: 0`", ":config: {dlq_ttl: 0}"),
        ("`data_ttl: 0`", ":redis: {data_ttl: 0}"),
        ("a negative age or cap", ":config: {max_ready_age: -1}"),
        ("a negative age or cap", ":config: {dlq_max_entries: -1}"),
        ("a blank threshold", ":config: {health_thresholds: {dlq_max_warning: }}"),
        ("a misspelt option", ":config: {dlq_enabeld: true}"),
        ("in the wrong section only", ":redis: {dlq_ttl: 1}"),
        ("a key that is given twice", ":config: {dlq_ttl: 1, dlq_ttl: 2}"),
        (
            "a `prefix` or domain",
            ":config: {manage_pools: true, prefix: 'a b'}\n:providers: {d: }\n:pools: [{name: a}]",
        ),
        ("a `:` or `,`", ":config: {manage_pools: true}\n:providers: {d: }\n:pools: [{name: 'a:b'}]"),
        ("a path to another folder", ":config: {manage_pools: true}\n:providers: {d: }\n:pools: [{name: ../../etc}]"),
    ],
)
def test_values_that_are_refused(row: str, text: str) -> None:
    table = PAGE.split("## Values that are refused")[1].split("\n## ")[0]
    assert row in table
    assert len(problems_of(text)) == 1
