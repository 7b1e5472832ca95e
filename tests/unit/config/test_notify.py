"""The `:notify:` section: what is refused, and that no address, header or command is shown."""

import json

import pytest

from tests.support.config_problems import problems_of, the_problem
from vmpooler_tasks.config import Settings, load_settings
from vmpooler_tasks.tasks.observe.startup import feature_lines

SECRET = "T0KEN"
SLACK = f"https://hooks.slack.com/services/{SECRET}"


def load(section: str, **environ: str) -> Settings:
    return load_settings({"VMPOOLER_CONFIG": f":config:\n  health_check_enabled: true\n{section}", **environ})


def targets(*lines: str) -> str:
    return ":notify:\n  targets:\n" + "".join(f"    - {line}\n" for line in lines)


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (["{type: slack}"], "notify.targets[0]: needs url"),
        (["{type: slak, url: 'https://x'}"], "notify.targets[0].type: must be webhook, slack, alertmanager or command"),
        (["{url: 'https://x'}"], "notify.targets[0].type: is missing"),
        (
            [f"{{type: slack, url: 'ftp://{SECRET}'}}"],
            "notify.targets[0].url: must be an address that starts with http:// or https:// and names a host",
        ),
        (
            [f"{{type: slack, url: 'https://{SECRET}:99999/'}}"],
            "notify.targets[0].url: must be an address that starts with http:// or https:// and names a host",
        ),
        (
            [f"{{type: slack, url: '{SLACK}', hedaers: {{}}}}"],
            "notify.targets[0].hedaers: unknown option; did you mean headers?",
        ),
        (
            [f'{{type: slack, url: "{SLACK}", headers: {{A: "{SECRET}\\nB: c"}}}}'],
            "notify.targets[0].headers: must be names and values of HTTP headers, in ASCII and without line breaks",
        ),
        (["{type: command}"], "notify.targets[0]: needs command: a list with a program and its arguments"),
        (["{type: command, command: []}"], "notify.targets[0]: needs command: a list with a program and its arguments"),
        (
            [f"{{type: command, command: [page], url: '{SLACK}'}}"],
            "notify.targets[0]: a command has no url and no headers",
        ),
        (
            [f"{{type: slack, url: '{SLACK}', command: [{SECRET}]}}"],
            "notify.targets[0]: only a target of type command has a command",
        ),
        (
            [f"{{type: slack, url: '{SLACK}'}}", f"{{type: slack, url: '{SLACK}'}}"],
            "notify: two targets have the name slack: give each a name",
        ),
        ([SECRET], "notify.targets[0]: must be a section of options"),
        ([f"{{type: slack, url: [{SECRET}]}}"], "notify.targets[0].url: must be text: put it in quotes"),
    ],
)
def test_a_target_that_cannot_work_is_refused_without_its_secrets(lines: list[str], problem: str) -> None:
    assert the_problem(targets(*lines)) == problem


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (":notfy: {}\n", "notfy: unknown option; did you mean notify?"),
        (":notify:\n  target: []\n", "notify.target: unknown option; did you mean targets?"),
        (
            ":notify:\n  web: vm.example.com\n",
            "notify: must be an address that starts with http:// or https:// and names a host",
        ),
        (":notify: 5\n", "notify: must be a section of options"),
        (":config:\n  notify_after: -1\n", "config.notify_after: -1 must be greater than or equal to 0"),
        (":config:\n  notify_aftr: 1\n", "config.notify_aftr: unknown option; did you mean notify_after?"),
    ],
)
def test_a_misspelt_option_is_an_error(text: str, problem: str) -> None:
    assert the_problem(text) == problem


def test_targets_from_the_environment() -> None:
    both = load("", NOTIFY_TARGETS=f"slack={SLACK},alertmanager=http://am:9093", NOTIFY_WEB="https://vm.example.com")
    assert [(one.name, one.type, one.place) for one in both.notify.targets] == [
        ("slack", "slack", "https://hooks.slack.com"),
        ("alertmanager", "alertmanager", "http://am:9093"),
    ]
    assert both.notify.web == "https://vm.example.com"
    for wrong in (SLACK, f"slak={SLACK}", f"slack={SECRET}"):
        assert SECRET not in " ".join(problems_of("", {"NOTIFY_TARGETS": wrong}))


def test_nothing_shows_a_secret() -> None:
    found = load(
        targets(
            f"{{type: slack, url: 'https://user:{SECRET}@hooks.slack.com/{SECRET}', headers: {{X: {SECRET}}}}}",
            f"{{type: command, name: pager, command: [page, {SECRET}]}}",
        )
    )
    shown = [repr(found), str(found), json.dumps(found.published()), *feature_lines(found)]
    shown += [target.place for target in found.notify.targets]
    assert [text for text in shown if SECRET in text] == []
    assert found.published()["notify.targets"] == "slack,pager"
    assert "[*] [config] notifications: on, after 60 s, to slack, pager" in feature_lines(found)


def test_nobody_is_notified_by_default() -> None:
    assert load("").notify.targets == ()
    assert "[*] [config] notifications: off" in feature_lines(load(""))
