"""The rules for Prometheus and the dashboard for Grafana are valid, tested, and use exported metrics."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel, ConfigDict, Field

from tests.integration.metrics.test_document import busy
from tests.support.guide import TEXT as GUIDE
from tests.support.guide import fences
from tests.support.processes import ROOT
from tests.support.promql import metrics
from tests.support.servers import required
from tests.support.world import World
from vmpooler_tasks.model.health.reasons import REASONS, ReasonCode
from vmpooler_tasks.model.health.status import Status

PROMETHEUS = ROOT / "deploy" / "prometheus"
RULES = PROMETHEUS / "vmpooler-tasks.rules.yaml"
DASHBOARD = ROOT / "deploy" / "grafana" / "vmpooler-tasks.json"
RUNBOOKS = ROOT / "docs" / "runbooks.md"

PROMETHEUS_OWN = {"up", "ALERTS"}
"""Prometheus makes these itself."""


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def sections() -> dict[str, str]:
    """The runbooks by their headings of the third level."""
    parts = re.split(r"^### (.+)\n", RUNBOOKS.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    return {heading: text.split("\n## ")[0] for heading, text in zip(parts[::2], parts[1::2], strict=True)}


# --- promtool --------------------------------------------------------------------------------------------------------


def promtool(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [required("promtool"), *arguments], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def deployed(tmp_path: Path) -> Path:
    """A copy, with a token beside it."""
    shutil.copytree(PROMETHEUS, tmp_path, dirs_exist_ok=True)
    (tmp_path / "vmpooler-tasks.token").write_text("token", encoding="utf-8")
    return tmp_path


def test_the_rules_and_the_sample_configuration_are_valid(deployed: Path) -> None:
    assert f"{len(rules())} rules found" in promtool(deployed, "check", "rules", RULES.name)
    assert "prometheus.yaml is valid" in promtool(deployed, "check", "config", "prometheus.yaml")


def test_each_alert_fires_when_it_should(deployed: Path) -> None:
    assert "SUCCESS" in promtool(deployed, "test", "rules", "tests.yaml")


def test_each_alert_has_a_test_that_fires_and_one_that_does_not() -> None:
    cases = yaml.safe_load((PROMETHEUS / "tests.yaml").read_text(encoding="utf-8"))["tests"]
    fires, rests = set(), set()
    for case in cases:
        checks = case.get("promql_expr_test", [])
        named = {
            found
            for check in checks
            for sample in check["exp_samples"]
            for found in re.findall(r'alertname="(\w+)"', sample["labels"])
        }
        fires |= named
        if any(not check["exp_samples"] for check in checks):
            rests |= named
    assert fires == rests == {rule["alert"] for rule in rules()}


# --- the alerts ------------------------------------------------------------------------------------------------------


def test_the_guides_alerts_stand_as_they_are_printed() -> None:
    (printed,) = [yaml.safe_load(f.text) for f in fences(GUIDE) if f.language == "yaml" and "- alert:" in f.text]
    ours = {rule["alert"]: rule for rule in rules()}
    assert len(printed) == 3
    for rule in printed:
        shipped = ours[rule["alert"]]
        assert (shipped["expr"], shipped["for"]) == (rule["expr"], rule["for"])
        assert shipped["annotations"]["summary"] == rule["annotations"]["summary"]


def test_each_alert_has_a_severity_and_a_runbook() -> None:
    for rule in rules():
        assert rule["labels"].keys() == {"severity"}
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
        assert len({one["alert"] for one in rules()}) == len(rules())


def test_each_runbook_link_leads_to_its_alerts_section() -> None:
    anchors = {heading.lower(): heading for heading in sections()}
    for rule in rules():
        page, _, anchor = rule["annotations"]["runbook_url"].partition("#")
        assert page == "http://127.0.0.1:8080/runbooks", "where `vmpooler-tasks web` serves them by default"
        assert anchors[anchor] == rule["alert"]


def test_the_runbooks_are_those_of_the_alerts_and_reasons() -> None:
    written = sections()
    assert set(written) == set(REASONS) | {rule["alert"] for rule in rules()}
    for heading, text in written.items():
        for part in ("**Meaning.**", "**Check", "**Clears** ", "\n[Contents](#contents)\n"):
            assert part in text, heading


SEVERITIES = {Status.DEGRADED: "warning", Status.UNHEALTHY: "critical"}


def test_the_alert_of_a_reason_exists_and_has_its_severity() -> None:
    severity = {rule["alert"]: rule["labels"]["severity"] for rule in rules()}
    for code, kind in REASONS.items():
        if kind.alert is not None:
            assert severity[kind.alert] == SEVERITIES[kind.severity], code


def test_each_alert_on_a_reason_stands_in_the_table_of_reasons() -> None:
    for rule in rules():
        for codes in re.findall(r'reason=~?"([^"]+)"', rule["expr"]):
            for code in codes.split("|"):
                assert REASONS[ReasonCode(code)].alert == rule["alert"]


def test_the_operator_guide_lists_each_reason_with_its_severity() -> None:
    text = (ROOT / "docs" / "operator-guide.md").read_text(encoding="utf-8")
    table = text.partition("| reason | degraded | unhealthy |\n")[2].partition("\n\n")[0]
    rows = [[cell.strip() for cell in line.split("|")[1:4]] for line in table.splitlines()[1:]]
    documented = {
        code: (degraded, unhealthy) for codes, degraded, unhealthy in rows for code in re.findall(r"`(\w+)`", codes)
    }
    assert documented.keys() == set(REASONS)
    for code, kind in REASONS.items():
        degraded, unhealthy = documented[code]
        assert unhealthy if kind.severity is Status.UNHEALTHY else degraded, code


def test_the_contents_of_the_runbooks_name_each_section_once() -> None:
    contents = RUNBOOKS.read_text(encoding="utf-8").split("\n## ")[1]
    assert contents.startswith("Contents\n")
    listed = re.findall(r"\[(\w+)\]\(#(\w+)\)", contents)
    assert sorted(name for name, _ in listed) == sorted(sections())
    assert all(anchor == name.lower() for name, anchor in listed)


def test_the_table_of_severities_is_that_of_the_rules() -> None:
    text = (ROOT / "docs" / "alerting.md").read_text(encoding="utf-8")
    for severity in ("critical", "warning"):
        (row,) = [line for line in text.splitlines() if line.startswith(f"| `{severity}`")]
        assert set(re.findall(r"`(VMPooler\w+)`", row)) == {
            rule["alert"] for rule in rules() if rule["labels"]["severity"] == severity
        }
    inhibited = " ".join(fence.text for fence in fences(text) if fence.language == "yaml")
    alerts = {rule["alert"] for rule in rules()}
    for pattern in re.findall(r'alertname=~?"([^"]+)"', inhibited):
        assert any(re.fullmatch(pattern, alert) for alert in alerts), pattern
        for word in re.findall(r"\w+", pattern.replace("VMPooler", "")):
            assert any(re.search(word, alert) for alert in alerts), word


# --- the metrics -----------------------------------------------------------------------------------------------------


@pytest.fixture
def exported(world: World) -> set[str]:
    """Every name of a sample that a system shows in which there is something of everything."""
    return {name for name, _ in busy(world).samples}


def test_each_metric_of_an_alert_is_exported(exported: set[str]) -> None:
    for rule in rules():
        named = metrics(rule["expr"])
        assert named
        assert named <= exported | PROMETHEUS_OWN, rule["alert"]


def test_each_metric_of_the_rules_tests_is_exported(exported: set[str]) -> None:
    cases = yaml.safe_load((PROMETHEUS / "tests.yaml").read_text(encoding="utf-8"))["tests"]
    for case in cases:
        for series in case["input_series"]:
            assert metrics(series["series"]) <= exported | PROMETHEUS_OWN


def test_each_metric_of_the_dashboard_is_exported_and_has_its_labels(exported: set[str], world: World) -> None:
    shown = busy(world)
    expressions = [(panel["title"], target["expr"]) for panel in panels() for target in panel.get("targets", ())]
    assert len(expressions) > 40
    for title, expression in expressions:
        assert metrics(expression) <= exported, title
    legends = [
        (target["expr"], label)
        for panel in panels()
        for target in panel.get("targets", ())
        for label in re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])
    ]
    for expression, label in legends:
        for name in metrics(expression):
            assert any(label in labels for labels in shown.labels(name)), (name, label)


def test_each_metric_of_the_documents_is_exported(exported: set[str], world: World) -> None:
    families = busy(world).names
    texts = [path.read_text(encoding="utf-8") for path in (*(ROOT / "docs").glob("*.md"), ROOT / "README.md")]
    named = {
        name for text in texts for name in re.findall(r"(?<![\w/.-])(vmpooler_[a-z0-9_]*[a-z0-9])\b(?![/(.*{-])", text)
    }
    named -= {name for name in named if name.startswith(("vmpooler__", "vmpooler_tasks"))}
    assert {"vmpooler_redis_up", "vmpooler_health_status"} <= named
    assert named <= families | exported


# --- the dashboard ---------------------------------------------------------------------------------------------------


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    return found


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class DataSource(Strict):
    type: str
    uid: str


class GridPos(Strict):
    """Grafana's grid is 24 wide."""

    h: int = Field(ge=1)
    w: int = Field(ge=1, le=24)
    x: int = Field(ge=0, le=23)
    y: int = Field(ge=0)


class Target(Strict):
    refId: str = Field(pattern="^[A-Z]$")  # noqa: N815 - Grafana's names, here and below
    datasource: DataSource
    expr: str = Field(min_length=1)
    legendFormat: str  # noqa: N815
    range: bool
    instant: bool
    format: str = "time_series"


class FieldConfig(Strict):
    defaults: dict[str, Any]
    overrides: list[Any]


class Transformation(Strict):
    id: str
    options: dict[str, Any]


class Panel(Strict):
    """A panel as Grafana's schema (dashboard kind, schemaVersion 39) has it."""

    id: int
    type: str = Field(pattern="^(stat|timeseries|table|barchart)$")
    title: str = Field(min_length=1)
    description: str = Field(min_length=1)
    datasource: DataSource
    gridPos: GridPos  # noqa: N815
    targets: list[Target] = Field(min_length=1)
    fieldConfig: FieldConfig  # noqa: N815
    options: dict[str, Any]
    transformations: list[Transformation] = []


class Row(Strict):
    id: int
    type: str = Field(pattern="^row$")
    title: str = Field(min_length=1)
    collapsed: bool
    gridPos: GridPos  # noqa: N815
    panels: list[Any]


class Variable(Strict):
    type: str
    name: str
    label: str
    query: str | dict[str, str]
    datasource: DataSource | None = None
    definition: str | None = None
    current: dict[str, Any]
    hide: int
    includeAll: bool  # noqa: N815
    allValue: str | None = None  # noqa: N815
    multi: bool
    options: list[Any]
    refresh: int
    regex: str
    sort: int = 0
    skipUrlSync: bool  # noqa: N815


def test_the_dashboard_shows_labels_as_text_alone() -> None:
    """A label holds any name from outside. No panel is HTML or Markdown, and no link or cell is made of a value."""
    whole = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    for panel in panels():
        assert panel["type"] != "text", panel["title"]
    places = re.findall(
        r'"(?:links|mode|displayMode|type)": (?:\[\s*\{|"(?:html|markdown|json-view|image|actions)")', json.dumps(whole)
    )
    assert places == []
    assert not re.search(r"\$\{__(?:data|field|value|series)", json.dumps(whole))


def test_grafana_accepts_the_dashboard() -> None:
    whole = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    assert (whole["id"], whole["uid"], whole["schemaVersion"]) == (None, "vmpooler-tasks", 39)
    assert {type(whole[name]) for name in ("time", "templating", "annotations", "timepicker")} == {dict}
    found = [(Row if panel["type"] == "row" else Panel).model_validate(panel, strict=True) for panel in whole["panels"]]
    assert len({panel.id for panel in found}) == len(found)
    places = [
        (x, y)
        for panel in found
        for x in range(panel.gridPos.x, panel.gridPos.x + panel.gridPos.w)
        for y in range(panel.gridPos.y, panel.gridPos.y + panel.gridPos.h)
    ]
    assert len(set(places)) == len(places), "no two panels overlap"
    assert max(x for x, _ in places) == 23
    for panel in found:
        if isinstance(panel, Panel):
            assert len({target.refId for target in panel.targets}) == len(panel.targets)


def test_data_source_and_pools_are_chosen_on_the_dashboard() -> None:
    whole = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    source, pool = [Variable.model_validate(one, strict=True) for one in whole["templating"]["list"]]
    assert (source.type, source.name, source.query) == ("datasource", "datasource", "prometheus")
    assert (pool.name, pool.multi, pool.includeAll) == ("pool", True, True)
    used = [panel["datasource"] for panel in panels() if panel["type"] != "row"]
    used += [target["datasource"] for panel in panels() for target in panel.get("targets", ())]
    assert {(one["type"], one["uid"]) for one in used} == {("prometheus", "${datasource}")}
    for panel in panels():
        for target in panel.get("targets", ()):
            per_pool = re.search(r"by \([^)]*\bpool\b", target["expr"]) and "health_reason" not in target["expr"]
            assert bool(per_pool) == ("$pool" in target["expr"]), panel["title"]


def test_the_dashboard_shows_what_an_operator_needs() -> None:
    shown = {name for panel in panels() for target in panel.get("targets", ()) for name in metrics(target["expr"])}
    assert shown >= {
        "vmpooler_health_status",
        "vmpooler_health_reason",
        "vmpooler_pool_vms",
        "vmpooler_pool_size",
        "vmpooler_health_queue_size",
        "vmpooler_health_queue_oldest_age_seconds",
        "vmpooler_dlq_size",
        "vmpooler_health_dlq_errors",
        "vmpooler_dlq_letters_total",
        "vmpooler_purged_total",
        "vmpooler_purge_duration_seconds_bucket",
        "vmpooler_celery_queue_messages",
        "vmpooler_celery_unacknowledged_messages",
        "vmpooler_workers",
        "vmpooler_beats",
    }
