"""Read the files of `deploy/` as compose, Kubernetes and systemd do."""

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.support.ports import free_port
from tests.support.processes import ROOT, Installation, Process

DEPLOY = ROOT / "deploy"
CONTAINERFILE = DEPLOY / "container" / "Containerfile"
COMPOSE = DEPLOY / "compose.yaml"
KUBERNETES = DEPLOY / "kubernetes"
SYSTEMD = DEPLOY / "systemd"
INSTALLED_IN = "/opt/vmpooler-tasks/bin/"

Manifest = dict[str, Any]


@dataclass(frozen=True)
class CommandLine:
    """A command line of `deploy/`; `where` is its file and part."""

    where: str
    words: tuple[str, ...]

    @property
    def role(self) -> str:
        """Return worker, beat, flower or web."""
        return next(word for word in self.words if word in {"worker", "beat", "flower", "web"})

    def here(self) -> list[str]:
        """Return the words, with a free port of this machine where they name one."""
        words = list(self.words)
        for place, word in enumerate(words):
            if word.startswith("--port="):
                words[place] = f"--port={free_port()}"
            elif word == "--port":
                words[place + 1] = str(free_port())
        return words


def compose() -> dict[str, Any]:
    """Return the file with its YAML merges applied."""
    found: dict[str, Any] = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))
    return found


def kustomization() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text(encoding="utf-8"))
    return found


def manifests(*names: str) -> list[Manifest]:
    """Return the manifests of these files, or all that `kubectl apply -k` applies."""
    files = names or tuple(kustomization()["resources"])
    found = [one for name in files for one in yaml.safe_load_all((KUBERNETES / name).read_text(encoding="utf-8"))]
    return [one for one in found if one]


def deployments() -> list[Manifest]:
    return [one for one in manifests() if one["kind"] == "Deployment"]


def container_of(deployment: Manifest) -> dict[str, Any]:
    (only,) = deployment["spec"]["template"]["spec"]["containers"]
    found: dict[str, Any] = only
    return found


def unit(name: str) -> dict[str, list[str]]:
    """Return option → values of a unit, in their order."""
    found: dict[str, list[str]] = {}
    for line in (SYSTEMD / name).read_text(encoding="utf-8").splitlines():
        if "=" in line and not line.startswith("#"):
            option, _, value = line.partition("=")
            found.setdefault(option, []).append(value)
    return found


def settings_of(file: Path) -> dict[str, str]:
    """Read a file of NAME=value lines, as compose, kustomize and systemd do."""
    lines = file.read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def units() -> list[Path]:
    """Return the services, with one unit for each name of worker instead of their template."""
    return sorted(path for path in SYSTEMD.iterdir() if path.suffix == ".service")


def command_lines() -> list[CommandLine]:
    return [*_container(), *_compose(), *_kubernetes(), *_systemd()]


def procfile(program: str = "") -> list[CommandLine]:
    """Return the lines of `Procfile`, or those of one program."""
    lines = (ROOT / "Procfile").read_text(encoding="utf-8").splitlines()
    named = [line.split(": ", 1) for line in lines]
    found = [CommandLine(f"Procfile {name}", tuple(shlex.split(command))) for name, command in named]
    return [line for line in found if program in {"", line.words[0]}]


def start_workers_and_beat(installation: Installation) -> list[Process]:
    """Start the workers and the beat of `Procfile`, and return them."""
    lines = [line for line in procfile() if line.role in {"worker", "beat"}]
    return [installation.start_literally(line.words, line.where.split()[1]) for line in lines]


def _container() -> Iterator[CommandLine]:
    (words,) = re.findall(r"^CMD (\[.*\])$", CONTAINERFILE.read_text(encoding="utf-8"), re.MULTILINE)
    yield CommandLine("container", tuple(json.loads(words)))


def _compose() -> Iterator[CommandLine]:
    for name, service in compose()["services"].items():
        if name != "redis":
            yield CommandLine(f"compose {name}", tuple(shlex.split(service["command"])))


def _kubernetes() -> Iterator[CommandLine]:
    for deployment in deployments():
        yield CommandLine(f"kubernetes {deployment['metadata']['name']}", tuple(container_of(deployment)["command"]))


def _systemd() -> Iterator[CommandLine]:
    for path in units():
        (line,) = unit(path.name)["ExecStart"]
        if "@" not in path.stem:
            yield CommandLine(f"systemd {path.stem}", _words(line))
            continue
        for options in sorted(SYSTEMD.glob("worker-*.conf")):
            name = options.stem.removeprefix("worker-")
            filled = line.replace("%i", name).replace("$OPTIONS", settings_of(options)["OPTIONS"])
            yield CommandLine(f"systemd worker@{name}", _words(filled))


def _words(line: str) -> tuple[str, ...]:
    program, *rest = shlex.split(line.replace("%%", "%"))
    assert program.startswith(INSTALLED_IN)
    return (program.removeprefix(INSTALLED_IN), *rest)
