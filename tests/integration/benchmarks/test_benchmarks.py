"""`make bench` runs and measures everything that it promises. No test checks the size of the figures."""

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks import recorded
from tests.benchmarks.rows import Row
from tests.support import vcenter_simulator
from tests.support.servers import TestServer
from vmpooler_tasks.store import Database

ROOT = Path(__file__).parents[3]
CYCLES = {"purge", "dry_run", "health"}


def run_benchmarks(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.benchmarks", *words],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any]]:
    """Run it once for a small state, and return (its stdout, its figures)."""
    file = tmp_path_factory.mktemp("bench") / "figures.json"
    done = run_benchmarks("--small", "--json", str(file))
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads(file.read_text())


@pytest.mark.stage(name="benchmarks")
def test_no_count_has_grown_by_a_third(run: tuple[str, dict[str, Any]]) -> None:
    rows = [Row.from_json(fields) for fields in run[1]["rows"]]
    assert recorded.compare(rows, recorded.read()) == [], "if it is meant: python -m tests.benchmarks --small --record"


@pytest.mark.stage(name="benchmarks")
def test_every_cycle_is_measured_against_the_floor(run: tuple[str, dict[str, Any]]) -> None:
    (state,) = run[1]["states"]
    assert (state["vms"], state["pools"]) == (200, 2)
    assert state["floor"]["seconds"] > 0
    assert state["floor"]["commands"] > 200, "the floor asks for each VM"
    assert set(state["cycles"]) == CYCLES
    for figures in state["cycles"].values():
        assert figures["seconds"] > 0
        assert figures["floor_ratio"] > 0
        assert figures["commands"] > figures["scripts"] > 0
        assert figures["redis_cpu_seconds"] > 0
        assert figures["memory_growth_mib"] >= 0
        assert figures["errors"] == 0


@pytest.mark.stage(name="benchmarks")
def test_the_cycles_that_are_measured_did_their_work(run: tuple[str, dict[str, Any]]) -> None:
    cycles = run[1]["states"][0]["cycles"]
    assert cycles["purge"]["found"] == cycles["dry_run"]["found"] > 0
    assert cycles["health"]["found"] > 0


@pytest.mark.stage(name="benchmarks")
def test_another_client_is_timed_with_and_without_a_cycle(run: tuple[str, dict[str, Any]]) -> None:
    (state,) = run[1]["states"]
    for pings in (state["idle"]["ping_ms"], *(figures["ping_ms"] for figures in state["cycles"].values())):
        assert pings["count"] > 0
        assert 0 < pings["p50"] <= pings["p99"] <= pings["max"]
        assert pings["p99_unsent"] <= pings["max"]


@pytest.mark.stage(name="benchmarks")
def test_secrets_are_removed_from_texts_of_doubling_sizes(run: tuple[str, dict[str, Any]]) -> None:
    sizes = [one["characters"] for one in run[1]["redaction"]]
    assert all(size == 2 * half for half, size in itertools.pairwise(sizes))
    assert all(one["seconds"] >= one["slowest_seconds"] > 0 for one in run[1]["redaction"])
    assert "Redaction." in run[0]


@pytest.mark.stage(name="benchmarks")
def test_a_dead_letter_from_the_failure_path_takes_one_request(run: tuple[str, dict[str, Any]]) -> None:
    assert run[1]["dead_letters"]["requests_per_push"] == {"EVALSHA": 1}


@pytest.mark.stage(name="benchmarks")
def test_dead_letters_are_pushed_and_ten_thousand_are_listed(run: tuple[str, dict[str, Any]]) -> None:
    dead_letters = run[1]["dead_letters"]
    assert dead_letters["pushes_per_second"] > 0
    assert dead_letters["zadds_per_second"] > 0
    assert dead_letters["list"]["entries"] == 10_000
    assert 0 < dead_letters["list"]["page_seconds"] < dead_letters["list"]["command_seconds"]


@pytest.mark.stage(name="benchmarks")
def test_clones_are_measured_beside_bare_celery(run: tuple[str, dict[str, Any]]) -> None:
    clones = run[1]["clones"]
    assert clones["messages"] == 40
    assert set(clones["throughput"]) == {"prefork", "threads"}
    for figures in clones["throughput"].values():
        assert figures["clones_per_second"] > 0
        assert figures["nothing_per_second"] > 0
        assert figures["share"] == pytest.approx(figures["clones_per_second"] / figures["nothing_per_second"])
    assert clones["in_flight"]["clones"] == 40
    assert 0 < clones["in_flight"]["max_at_once"] <= 40
    assert clones["in_flight"]["seconds"] >= 0.5
    assert [one["processes"] for one in clones["scaling"]] == [1, 2, 4]
    assert clones["scaling"][0]["speedup"] == 1


@pytest.mark.stage(name="benchmarks")
def test_scrapes_are_measured_beside_a_bare_pipeline(run: tuple[str, dict[str, Any]]) -> None:
    for scrape in run[1]["scrapes"]:
        assert scrape["commands"] > scrape["pools"]
        assert scrape["seconds"] > 0
        assert scrape["bare_seconds"] > 0
        assert scrape["ratio"] > 0


@pytest.mark.stage(name="benchmarks")
def test_people_read_each_figure_in_a_table(run: tuple[str, dict[str, Any]]) -> None:
    printed, figures = run
    (state,) = figures["states"]
    purge = state["cycles"]["purge"]
    (row,) = (line for line in printed.splitlines() if line.strip().startswith("purge ") and "x" in line)
    assert f"{purge['floor_ratio']:.2f}x" in row
    assert f"{purge['memory_growth_mib']:.1f} MiB" in row
    assert "200 VMs in 2 pools" in printed
    assert figures["machine"]["server"] in printed


@pytest.mark.stage(name="benchmarks")
@pytest.mark.timeout(900)
def test_a_small_installation_is_simulated(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    words = ("--small", "--only", "scale", "messages", "--pools", "4", "--json", str(file), "--compare")
    done = run_benchmarks(*words)
    assert done.returncode == 0, done.stderr
    figures = json.loads(file.read_text())
    (size,) = figures["scale"]
    assert (size["vms"], size["pools"]) == (400, 4)
    done_by = {job: one["done"] for job, one in size["jobs"].items() if "done" in one}
    assert done_by.items() >= {"configuration": 4, "tick": 4, "inspections": 4, "orphan": 1, "overview": 4}.items()
    assert size["jobs"]["dry_run"]["errors"] == size["jobs"]["health"]["errors"] == 0
    assert size["jobs"]["health"]["found"] > 0, "orphans"
    assert [(one["kind"], one["workers"]) for one in figures["messages"]] == [
        (kind, workers) for kind in ("no-op messages", "clones of no time") for workers in (1, 2)
    ]
    assert all(one["messages"] == 40 and one["commands_each"] > 1 for one in figures["messages"])


def test_a_server_that_holds_keys_is_refused_and_left_alone(valkey: TestServer) -> None:
    db = Database(valkey.url)
    db.call("SET", "somebody", "else's")
    done = run_benchmarks("--url", valkey.url, "--vms", "10", "--runs", "1")
    assert done.returncode != 0
    assert "holds keys; measure on an empty server" in done.stderr
    assert db.call("GET", "somebody") == b"else's"
    db.close()


def test_keys_in_another_database_of_the_server_count_too(valkey: TestServer) -> None:
    db = Database(valkey.url.removesuffix("/0") + "/3")
    db.call("SET", "somebody", "else's")
    done = run_benchmarks("--url", valkey.url, "--vms", "10", "--runs", "1")
    assert "holds keys" in done.stderr
    assert db.call("GET", "somebody") == b"else's"
    db.close()


def test_a_password_is_refused_and_not_shown() -> None:
    done = run_benchmarks("--url", "redis://:tops3cret@127.0.0.1:6/0")
    assert done.returncode != 0
    assert "without a password" in done.stderr
    assert "tops3cret" not in done.stderr


@pytest.mark.stage(name="providers")
@pytest.mark.timeout(1800)
def test_providers_are_measured_on_their_simulators(tmp_path: Path) -> None:
    with vcenter_simulator.running(tmp_path):
        pass  # it is compiled here, where that may take longer
    file = tmp_path / "figures.json"
    done = run_benchmarks(*("--small", "--only", "providers", "--clones", "10", "--json", str(file), "--compare"))
    assert done.returncode == 0, done.stderr
    figures = {one["title"]: one for one in json.loads(file.read_text())["hypervisors"]}
    for title, make, end in (
        ("vSphere", "CloneVM_Task", "Destroy_Task"),
        ("EC2", "RunInstances", "TerminateInstances"),
    ):
        assert figures[title]["calls"]["create_vm"][make] == figures[title]["calls"]["destroy_vm"][end] == 1
        assert (figures[title]["inventory"]["vms"], figures[title]["in_flight"]["clones"]) == (200, 10)
    assert "inventory of 200 VMs" in done.stdout
