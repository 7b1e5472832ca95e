"""What is wrong with Sentinels and their master is said in the same words by every process and command."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import deployment
from tests.support.commands import CommandLine
from tests.support.days_work import managed
from tests.support.ports import free_port
from tests.support.processes import Installation, until
from tests.support.sentinels import MASTER, PASSWORD, Watched, watched

SENTINEL_PASSWORD = "w0rd-of-the-sentinels"


@dataclass(frozen=True)
class Mistake:
    """Text of the right address → text of the wrong one; what is said of it, and what `doctor` advises."""

    right: str
    wrong: str
    said: str
    advice: str


MISTAKES = {
    "wrong name of the master": Mistake(
        f"master={MASTER}",
        "master=another",
        f"No master found for 'another': its Sentinels know no master of this name, but '{MASTER}'",
        "master=NAME",
    ),
    "wrong password of the Sentinels": Mistake(
        SENTINEL_PASSWORD,
        "wrong",
        "its Sentinels deny access: {hosts}: invalid username-password pair",
        "sentinel_password=",
    ),
    "no password of the Sentinels": Mistake(
        f"&sentinel_password={SENTINEL_PASSWORD}",
        "",
        "its Sentinels deny access: {hosts}: a password is missing",
        "sentinel_password=",
    ),
    "wrong password of the master": Mistake(
        PASSWORD,
        "wrong",
        "the master 127.0.0.1:{master} denies access, its Sentinels do not: invalid username-password pair",
        "sentinel://user:password@",
    ),
    "no password of the master": Mistake(
        f":{PASSWORD}@", "", "the master 127.0.0.1:{master} denies access, its Sentinels do not:", "user:password@"
    ),
    "Sentinels that are down": Mistake(
        "{plain}", "127.0.0.1:1,127.0.0.1:2", "none of its Sentinels replies: 127.0.0.1:1, 127.0.0.1:2: ", "are running"
    ),
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    with watched(tmp_path_factory.mktemp("sentinels"), SENTINEL_PASSWORD) as own:
        yield own


def text(template: str, site: Watched) -> str:
    hosts = ", ".join(site.hosts.split(","))
    return template.format(plain=site.hosts, hosts=hosts, master=site.master.port)


def address(mistake: Mistake, site: Watched) -> str:
    right = text(mistake.right, site)
    assert right in site.url
    return site.url.replace(right, mistake.wrong)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_each_command_names_the_mistake_in_one_line(mistake: str, site: Watched, tmp_path: Path) -> None:
    case = MISTAKES[mistake]
    environment = {**Installation(address(case, site), tmp_path).environment, "VMPOOLER_CONFIG": managed()}
    run = CommandLine(tmp_path, environment)
    for command in ("health", "purge --enqueue --why x", "pools", "dlq list"):
        done = run(*command.split())
        assert (done.status, len(done.err.splitlines())) == (69, 1), done
        assert text(case.said, site) in done.err
        assert site.password not in done.err
        assert SENTINEL_PASSWORD not in done.err
    (_, finding) = run.json("doctor", status=69)
    assert text(case.said, site) in finding["found"]
    assert case.advice in finding["remedy"]


@pytest.mark.stage(name="deployment")
@pytest.mark.parametrize("mistake", MISTAKES)
def test_each_process_names_the_mistake_and_waits(mistake: str, site: Watched, tmp_path: Path) -> None:
    case = MISTAKES[mistake]
    with Installation(address(case, site), tmp_path) as own:
        own.environment |= {"FLOWER_BASIC_AUTH": "operator:a long password", "WEB_PORT": str(free_port())}
        lines = [line for line in deployment.procfile() if line.where.split()[-1] not in {"checks", "clones"}]
        for process in [own.start_literally(line.here(), line.where) for line in lines]:
            process.says(text(case.said, site))
            assert process.running
            assert "Traceback" not in process.log
            assert site.password not in process.log
            assert SENTINEL_PASSWORD not in process.log


def test_a_master_that_is_down_is_named(tmp_path: Path) -> None:
    with watched(tmp_path) as own:
        own.replica.kill()
        own.master.kill()
        run = CommandLine(tmp_path, Installation(own.url, tmp_path).environment)
        said = f"its Sentinels report that 127.0.0.1:{own.master.port} is down"
        until(lambda: said in run("health").err, said)
