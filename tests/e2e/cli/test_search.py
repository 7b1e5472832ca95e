"""Searches through very many dead letters: first results at once, progress, and Ctrl-C."""

import os
import re
import signal
import subprocess

import pytest

from tests.support.commands import PROGRAM, CommandLine, dead_letter, terminal
from tests.support.processes import PATIENCE
from tests.support.world import World
from vmpooler_tasks.cli.shared import search
from vmpooler_tasks.cli.shared.search import Search
from vmpooler_tasks.store import keys


def many(world: World, count: int) -> None:
    pipe = world.client.pipeline(transaction=False)
    for number in range(count):
        text = f'{{"vm":"vm-{number}","pool":"p","error_class":"E","error_message":"no {number}","id":"{number:016}"}}'
        pipe.zadd("vmpooler__dlq__tasks", {text: world.now - number})
    pipe.execute()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress is due with each page."""
    monkeypatch.setattr(search, "PROGRESS_SECONDS", 0.0)


@pytest.mark.usefixtures("impatient")
def test_a_pipe_gets_no_progress(run: CommandLine, world: World) -> None:
    many(world, 3000)
    result = run("dlq", "list", "--search", "no 29", "--limit", "2")
    assert (result.status, result.err) == (0, "")
    assert len(re.findall(r"^20.*E: no 29\d?$", result.out, re.MULTILINE)) == 2
    assert result.out.count("FAILED AT") == 1


def test_progress_names_what_was_read_and_found(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Search(1_000_000)
    progress.on_read(12_000)
    assert list(progress.counted("abc")) == ["a", "b", "c"]
    assert str(progress) == "12,000 of 1,000,000 dead letters, 3 found"
    assert capsys.readouterr().err == ""


def test_ctrl_c_reports_how_far_the_search_came(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted() -> None:
        with Search(5000, noun="exported") as progress:
            progress.on_read(1000)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert capsys.readouterr().err == "vmpooler-tasks: stopped after 1,000 of 5,000 dead letters, 0 exported"


@pytest.mark.slow
def test_on_a_terminal_a_search_shows_its_results_and_progress_and_ends_with_ctrl_c(
    run: CommandLine, world: World
) -> None:
    many(world, 150_000)
    dead_letter(world, "clone", -60, vm="wanted", error_class="E", error_message="wanted", id="0a" * 8)
    with terminal(80) as (ours, theirs):
        process = subprocess.Popen(
            [str(PROGRAM), "dlq", "list", "--search", "wanted"],
            cwd=run.folder,
            env=run.environment,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        shown = b""
        while b"Searched" not in shown:
            shown += os.read(ours, 65536)
        assert shown.index(b"0a0a0a0a0a0a0a0a") < shown.index(b"Searched"), "the first result is there at once"
        process.send_signal(signal.SIGINT)
        while b"stopped after" not in shown:
            shown += os.read(ours, 65536)
        assert process.wait(PATIENCE) == 130
    assert re.search(rb"Searched [\d,]+ of 150,001 dead letters, 1 found", shown)
    assert re.search(rb"vmpooler-tasks: stopped after [\d,]+ of 150,001 dead letters, 1 found", shown)
    assert b"Traceback" not in shown


def test_a_name_that_is_in_no_dead_letter_is_an_error(run: CommandLine, world: World) -> None:
    many(world, 10)
    for command in ("list", "stats", "export", "delete --yes", "redrive --yes"):
        result = run("dlq", *command.split(), "--pool", "nowhere")
        assert (result.status, result.out) == (64, ""), command
        assert "Invalid value for --pool: no pool 'nowhere'; there are " in result.err
        result = run("dlq", *command.split(), "--request", "nowhere")
        assert (result.status, result.out) == (64, ""), command
        assert "Invalid value for --request: no request 'nowhere': neither Redis nor a dead letter has it" in result.err
    assert run("dlq", "list", "--pool", "p").status == 0, "a dead letter knows this pool"
    world.client.sadd(keys.POOLS, "registered")
    assert run("dlq", "list", "--pool", "registered").out == "No dead letters.\n"
    world.client.hset(keys.request(b"req-1"), "requested", "a:b:1")
    assert run("dlq", "list", "--request", "req-1").out == "No dead letters.\n"
    assert "did you mean req-1?" not in run("dlq", "list", "--request", "req-2").err, "it is closed"


def test_limits_end_a_search(run: CommandLine, world: World) -> None:
    many(world, 20)
    assert run("dlq", "export", "--limit", "3").err == "3 dead letters exported\n"
    assert run("dlq", "stats", "--limit", "4").out.startswith("Total: 0 pending, 0 clone, 0 ready, 4 tasks; 20 dead")
    assert run("dlq", "delete", "--error-class", "E", "--limit", "5", "--yes").out == "Deleted 5 dead letters.\n"
    assert [entry["vm"] for entry in run.json("dlq", "list", "--limit", "1")["entries"]] == ["vm-5"]
