"""docs/providers/vsphere.md lists each option with its default, and each privilege that is checked."""

from tests.support.vsphere_reference import defaults_of_config, tables
from tests.unit.docs.test_words import read
from vmpooler_tasks.providers.vsphere.options import CloneDefaults

PAGE = read("docs/providers/vsphere.md")


def test_each_option_and_privilege_is_listed() -> None:
    for table in tables():
        assert table in PAGE, "python -m tests.support.vsphere_reference prints them"


def test_the_provider_and_the_configuration_agree_on_defaults() -> None:
    assert {name: field.default for name, field in CloneDefaults.model_fields.items()} == defaults_of_config()
