"""The container file, and the check that tells whether what a container runs is alive."""

import os
import re
import runpy
import subprocess
import sys
import threading
import time
from contextlib import nullcontext
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path

import pytest
import yaml

from tests.support.deployment import CONTAINERFILE, DEPLOY, command_lines
from tests.support.processes import ROOT
from vmpooler_tasks import __version__
from vmpooler_tasks.tasks.observe.liveness import INTERVAL_SECONDS

HEALTHCHECK = DEPLOY / "container" / "healthcheck.py"
TEXT = CONTAINERFILE.read_text(encoding="utf-8")
IGNORED = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()


def test_it_is_not_root_and_needs_nothing_of_the_root() -> None:
    (user,) = re.findall(r"^USER (\d+):\1$", TEXT, re.MULTILINE)
    assert int(user) >= 10000
    assert "HOME=/tmp" in TEXT
    assert "VMPOOLER_PULSE_FILE=/tmp/" in TEXT


def test_it_names_the_version_and_no_index() -> None:
    assert f"ARG VERSION={__version__}" in TEXT
    assert f"vmpooler-tasks:{__version__}" in (DEPLOY / "compose.yaml").read_text(encoding="utf-8")
    kustomization = yaml.safe_load((DEPLOY / "kubernetes" / "kustomization.yaml").read_text(encoding="utf-8"))
    assert kustomization["images"] == [{"name": "vmpooler-tasks", "newTag": __version__}]
    assert not re.search(r"https?://|index-url|trusted-host", TEXT)
    installs = re.findall(r"pip .*install.*", TEXT)
    assert len(installs) == 4
    safe = ("--require-hashes -r", "--no-deps /wheels/*.whl", "-c /wheels/versions.txt ${PROVIDERS}")
    assert all(any(words in line for words in safe) for line in installs)


def test_what_it_copies_is_let_through() -> None:
    taken = {line.removeprefix("!") for line in IGNORED if line.startswith("!")}
    copied: set[str] = set()
    for line in re.findall(r"^COPY (?!--from)(.+) \S+$", TEXT, re.MULTILINE):
        copied |= {word.removeprefix("./") for word in line.split() if not word.startswith("--")}
    assert copied == taken
    assert all((ROOT / name).exists() for name in copied)
    assert "*" in IGNORED


# --- the check --------------------------------------------------------------------------------------------------------


def check(file: Path) -> subprocess.CompletedProcess[str]:
    """Here the first process is none of ours, as in a container that runs a worker."""
    environment = {**os.environ, "VMPOOLER_PULSE_FILE": str(file)}
    return subprocess.run(
        [sys.executable, str(HEALTHCHECK)], env=environment, capture_output=True, text=True, check=False, timeout=30
    )


def test_a_fresh_sign_of_life_is_one(tmp_path: Path) -> None:
    (tmp_path / "pulse").touch()
    assert check(tmp_path / "pulse").returncode == 0


@pytest.mark.parametrize("age", [None, 120])
def test_none_or_an_old_one_is_none(age: float | None, tmp_path: Path) -> None:
    file = tmp_path / "pulse"
    if age is not None:
        file.touch()
        os.utime(file, (time.time() - age, time.time() - age))
    done = check(file)
    assert done.returncode == 1
    assert done.stderr.startswith("not alive: ")


def test_it_waits_for_some_signs_of_life() -> None:
    (most,) = re.findall(r"^MAX_SECONDS = (\d+)", HEALTHCHECK.read_text(encoding="utf-8"), re.MULTILINE)
    assert int(most) > 5 * INTERVAL_SECONDS


@pytest.mark.parametrize(
    ("words", "port"),
    [
        (["celery", "flower", "--address=0.0.0.0", "--port=5556"], "5556"),
        (["vmpooler-tasks", "web", "--host", "10.0.0.1", "--port", "8081"], "8081"),
        (["vmpooler-tasks", "web"], "usual"),
    ],
)
def test_it_asks_at_the_port_of_the_command_line(words: list[str], port: str) -> None:
    assert runpy.run_path(str(HEALTHCHECK))["_port"](words, "usual") == port


def test_what_answers_lives_and_what_does_not_is_an_error() -> None:
    answers = runpy.run_path(str(HEALTHCHECK))["_expect_response"]
    with HTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler) as server:
        address = f"http://127.0.0.1:{server.server_port}"
        for path in ("/", "/nonexistent"):
            asked = threading.Thread(target=server.handle_request)
            asked.start()
            with nullcontext() if path == "/" else pytest.raises(OSError, match="404"):
                answers(address + path)
            asked.join()
    with pytest.raises(OSError, match="refused"):
        answers(address)


def test_every_process_runs_with_the_same_words_everywhere() -> None:
    """Of each role the options are the same, wherever it is installed."""
    found: dict[str, set[tuple[str, ...]]] = {}
    for line in command_lines():
        if line.where != "container" and line.role == "worker":
            queues = line.words[line.words.index("-Q") + 1]
            found.setdefault(queues, set()).add(line.words[line.words.index("-Q") :])
    assert {queues: len(options) for queues, options in found.items()} == dict.fromkeys(found, 1)
    assert len(found) == 3
