"""The files of `extra_config` are read as VMPooler reads them; a YAML list of files works too."""

from pathlib import Path

import pytest

from tests.support.config_problems import problems_of
from vmpooler_tasks.config import load_settings


def files(tmp_path: Path) -> tuple[Path, Path]:
    first, second = tmp_path / "pools.yaml", tmp_path / "more.yaml"
    first.write_text(":config:\n  dlq_ttl: 1\n  timeout: 20\n:pools:\n  - name: extra\n  - name: main\n")
    second.write_text(":config:\n  dlq_enabled: true\n:pools:\n  - name: more\n")
    return first, second


@pytest.mark.parametrize(
    "form", ["'{0},{1}'", "'{0}, {1}'", "['{0}', '{1}']", "\n    - {0}\n    - {1}", "['{0},{1}']", "'{0},,{1},'"]
)
def test_several_files(tmp_path: Path, form: str) -> None:
    first, second = files(tmp_path)
    main = f":config:\n  dlq_ttl: 99\n  extra_config: {form.format(first, second)}\n:pools:\n  - name: main\n"
    settings = load_settings({"VMPOOLER_CONFIG": main})
    assert (settings.config.dlq_ttl, settings.config.timeout, settings.config.dlq_enabled) == (99, 20, True)
    assert [pool.name for pool in settings.pools] == ["main", "extra", "more"]


@pytest.mark.parametrize("written", ["dlq_enabled: false", "dlq_enabled:"])
def test_blank_and_false_count_as_missing(tmp_path: Path, written: str) -> None:
    _, second = files(tmp_path)
    main = f":config:\n  {written}\n  timeout: 5\n  extra_config: {second}\n"
    assert load_settings({"VMPOOLER_CONFIG": main}).config.dlq_enabled


def test_zero_is_a_value(tmp_path: Path) -> None:
    extra = tmp_path / "extra.yaml"
    extra.write_text(":config:\n  vm_checktime: 9\n")
    main = f":config: {{vm_checktime: 0, extra_config: {extra}}}"
    assert load_settings({"VMPOOLER_CONFIG": main}).config.vm_checktime == 0


@pytest.mark.parametrize("written", ["{a: b}", "5", "true"])
def test_value_that_names_no_file(written: str) -> None:
    assert problems_of(f":config: {{extra_config: {written}}}") == [
        "config.extra_config: must be the names of files, joined by commas, or a list of them"
    ]


def test_missing_file_of_a_list_is_named(tmp_path: Path) -> None:
    first, _ = files(tmp_path)
    assert problems_of(f":config:\n  extra_config: ['{first}', '{tmp_path}/none.yaml']\n") == [
        f"extra_config {tmp_path}/none.yaml: cannot be read: No such file or directory"
    ]


def test_file_name_with_a_null_byte_is_a_problem() -> None:
    [problem] = problems_of(':config: {extra_config: "a\\0b"}')
    assert problem.endswith(": cannot be read: embedded null byte")


def test_option_that_is_not_set_is_published_blank() -> None:
    published = load_settings({"VMPOOLER_CONFIG": ""}, Path("/dev/null")).published()
    assert {published[name] for name in ("domain", "clone_target", "vm_lifetime_auth")} == {""}
    assert "None" not in published.values()
