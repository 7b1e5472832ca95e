"""`vmpooler-tasks completion`: the scripts, in the shells that are installed, and the names that they complete."""

import json
import shlex
import subprocess

import pytest

from tests.support.commands import PROGRAM, CommandLine, dead_letter
from tests.support.processes import PATIENCE, configuration
from tests.support.servers import required
from tests.support.world import POOL, World
from vmpooler_tasks.store import keys

NOWHERE = "redis://127.0.0.1:1/0"
SHELLS = ("bash", "zsh", "fish")


def completed(run: CommandLine, *typed: str, **environment: str) -> list[list[str]]:
    """What bash offers at the end of each of these lines. Fail if anything is written beside it."""
    file = run.folder / "completion.bash"
    file.write_text(run("completion", "bash").out)
    lines = [f"source {file}"]
    for line in typed:
        words = ["vmpooler-tasks", *line.split(" ")]
        lines += [
            f"COMPREPLY=(); COMP_WORDS=({' '.join(map(shlex.quote, words))}); COMP_CWORD={len(words) - 1}",
            f'_vmpooler_tasks_completion {PROGRAM}; echo "${{COMPREPLY[@]}}"',
        ]
    done = subprocess.run(
        ["bash", "-c", "\n".join(lines)],
        cwd=run.folder,
        env={**run.environment, **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.stderr == ""
    return [line.split() for line in done.stdout.splitlines()]


@pytest.fixture
def filled(run: CommandLine, world: World) -> CommandLine:
    whole = json.loads(configuration(POOL, "debian-12"))
    whole[":pools"][0]["alias"] = ["centos"]
    run.environment["VMPOOLER_CONFIG"] = json.dumps(whole)
    dead_letter(world, "clone", 60, id="0a" * 8, vm="vm", error_class="E", error_message="e")
    dead_letter(world, "tasks", 60, id="1b" * 8, task="t", vm="vm", error_class="E", error_message="e")
    world.client.zadd(keys.WAITING_REQUESTS, {"req-7": world.now})
    return run


OFFERED = {
    "he": ["health"],
    "dlq re": ["redrive"],
    "dlq list --err": ["--error-class", "--error"],
    "dlq list --queue p": ["pending"],
    "dlq list --pool d": ["debian-12"],
    "purge --pool cent": ["centos", POOL],
    "pools pause d": ["debian-12"],
    "request d": ["debian-12"],
    "request sh": ["show"],
    "request debian-12 cent": ["centos", POOL],
    "dlq list --request r": ["req-7"],
    "request show r": ["req-7"],
    "dlq show 0": ["0a" * 8],
    "dlq redrive ": ["0a" * 8, "1b" * 8],
    "--color a": ["auto", "always"],
    "completion z": ["zsh"],
    "status --no": ["--no-check"],
}


@pytest.mark.slow
def test_bash_completes_commands_options_and_names(filled: CommandLine) -> None:
    assert dict(zip(OFFERED, completed(filled, *OFFERED), strict=True)) == OFFERED


@pytest.mark.slow
def test_without_redis_only_what_is_configured_is_offered_and_nothing_is_written(filled: CommandLine) -> None:
    typed = ("dlq show ", "dlq list --request ", "dlq redrive --resume ", "dlq list --pool d")
    assert completed(filled, *typed, REDIS_URL=NOWHERE) == [[], [], [], ["debian-12"]]


@pytest.mark.slow
@pytest.mark.parametrize("config", ["[not: {valid", ":config: {dlq_ttl: 0}"])
def test_with_a_wrong_configuration_commands_are_completed_and_names_are_not(filled: CommandLine, config: str) -> None:
    assert completed(filled, "dlq list --pool ", "dlq st", VMPOOLER_CONFIG=config) == [[], ["stats"]]


@pytest.mark.parametrize("shell", SHELLS)
def test_each_shell_reads_its_script(run: CommandLine, shell: str) -> None:
    script = run("completion", shell, REDIS_URL=NOWHERE)
    assert (script.status, script.err) == (0, "")
    assert f"_VMPOOLER_TASKS_COMPLETE={shell}_complete" in script.out
    check = subprocess.run(
        [required(shell), "-n"], input=script.out, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert (check.returncode, check.stderr) == (0, "")


def test_an_unknown_shell_is_refused(run: CommandLine) -> None:
    result = run("completion", "tcsh")
    assert (result.status, result.out) == (64, "")
    assert "'tcsh' is not one of 'bash', 'zsh', 'fish'" in result.err
