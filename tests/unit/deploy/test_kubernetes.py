"""The manifests are valid, refer to what is there, and do what is said of them."""

import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.support import deployment
from tests.support.deployment import KUBERNETES, Manifest, container_of, deployments, kustomization, manifests
from vmpooler_tasks.config import load_settings
from vmpooler_tasks.tasks.celery import defaults
from vmpooler_tasks.tasks.celery.configuration import time_limits

OPTIONAL = ("autoscaling/hpa.yaml",)
CUSTOM = ("autoscaling/keda.yaml", "monitoring/servicemonitor.yaml")
"""Of kinds that Kubernetes itself does not have."""

VERSIONS = ("1.30", kubernetes_validate.latest_version())
WORKERS = {"worker-clones", "worker-checks", "worker-maintenance"}


def title(manifest: Manifest) -> str:
    return f"{manifest['kind']} {manifest['metadata']['name']}"


def labels_of(one: Manifest) -> dict[str, str]:
    found: dict[str, str] = one["spec"]["template"]["metadata"]["labels"]
    return found


def selected(selector: dict[str, Any]) -> list[str]:
    """The deployments whose pods it takes."""
    return [one["metadata"]["name"] for one in deployments() if selector.items() <= labels_of(one).items()]


def pod_of(one: Manifest) -> dict[str, Any]:
    found: dict[str, Any] = one["spec"]["template"]["spec"]
    return found


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("manifest", manifests() + manifests(*OPTIONAL), ids=title)
def test_it_is_valid(manifest: Manifest, version: str) -> None:
    kubernetes_validate.validate(manifest, version, strict=True)


def test_every_file_is_taken_or_offered() -> None:
    files = {str(path.relative_to(KUBERNETES)) for path in KUBERNETES.rglob("*.yaml")}
    apart = {"kustomization.yaml", "vmpooler.yaml", "autoscaling/adapter-rule.yaml"}
    assert files == {*kustomization()["resources"], *OPTIONAL, *CUSTOM, *apart}
    offered = (KUBERNETES / "kustomization.yaml").read_text(encoding="utf-8")
    assert all(f"# - {name}" in offered for name in (*OPTIONAL, *CUSTOM))


def test_there_is_one_of_each_and_two_of_what_may_be_two() -> None:
    assert {one["metadata"]["name"]: one["spec"]["replicas"] for one in deployments()} == {
        **dict.fromkeys(WORKERS, 2),
        "beat": 2,
        "web": 2,
        "flower": 1,
    }


@pytest.mark.parametrize("one", deployments(), ids=title)
def test_what_it_refers_to_is_there(one: Manifest) -> None:
    pod, container = pod_of(one), container_of(one)
    made = kustomization()
    secrets = {
        name: {key for file in generator["envs"] for key in deployment.settings_of(KUBERNETES / f"{file}.sample")}
        for generator in made["secretGenerator"]
        for name in [generator["name"]]
    }
    configs = {generator["name"]: generator["files"] for generator in made["configMapGenerator"]}
    for variable in container["env"]:
        reference = variable["valueFrom"]["secretKeyRef"]
        assert reference["key"] in secrets[reference["name"]]
        assert reference["key"] == variable["name"]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == set(volumes)
    assert configs[volumes["config"]["configMap"]["name"]] == ["vmpooler.yaml"]
    accounts = [other["metadata"]["name"] for other in manifests() if other["kind"] == "ServiceAccount"]
    assert pod["serviceAccountName"] in accounts
    assert container["image"] in [image["name"] for image in made["images"]]
    assert selected(one["spec"]["selector"]["matchLabels"]) == [one["metadata"]["name"]]
    ports = {port["name"] for port in container.get("ports", [])}
    probes = [container[name] for name in ("startupProbe", "livenessProbe", "readinessProbe") if name in container]
    assert {probe["httpGet"]["port"] for probe in probes if "httpGet" in probe} <= ports


def test_services_and_policies_lead_to_pods() -> None:
    ports = {one["metadata"]["name"]: container_of(one).get("ports", []) for one in deployments()}
    for manifest in manifests():
        spec = manifest.get("spec", {})
        match manifest["kind"]:
            case "Service":
                (name,) = selected(spec["selector"])
                assert {port["targetPort"] for port in spec["ports"]} <= {port["name"] for port in ports[name]}
            case "PodDisruptionBudget":
                assert selected(spec["selector"]["matchLabels"]) == [manifest["metadata"]["name"]]
            case "NetworkPolicy":
                expressions = spec["podSelector"].get("matchExpressions", [])
                for expression in expressions:
                    assert set(expression["values"]) <= set(ports)
                assert expressions or selected(spec["podSelector"]["matchLabels"])
    guarded = [one["metadata"]["name"] for one in manifests() if one["kind"] == "PodDisruptionBudget"]
    replicated = [one["metadata"]["name"] for one in deployments() if one["spec"]["replicas"] > 1]
    assert sorted(guarded) == sorted(replicated)


@pytest.mark.parametrize("one", deployments(), ids=title)
def test_it_is_restricted(one: Manifest) -> None:
    pod, container = pod_of(one), container_of(one)
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] >= 10000
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["automountServiceAccountToken"] is False
    assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
    assert "memory" in container["resources"]["limits"]
    # Kubernetes would set WEB_PORT, FLOWER_PORT or REDIS_PORT to tcp://… for Services of these names.
    assert pod["enableServiceLinks"] is False


@pytest.mark.parametrize("file", [None, KUBERNETES / "vmpooler.yaml"], ids=["defaults", "sample"])
def test_a_worker_has_time_to_finish_its_task(file: Path | None) -> None:
    longest = time_limits(load_settings({}, file)).get("task_time_limit", defaults.task_time_limit) if file else 0
    longest = max(longest, defaults.task_time_limit)
    for one in deployments():
        if one["metadata"]["name"] in WORKERS:
            assert pod_of(one)["terminationGracePeriodSeconds"] > longest


@pytest.mark.parametrize("one", deployments(), ids=title)
def test_it_is_probed_without_redis(one: Manifest) -> None:
    container = container_of(one)
    probe = container["livenessProbe"]
    if "ports" in container:
        assert probe["httpGet"]["path"] in {"/healthz", "/healthcheck"}
    else:
        assert probe["exec"]["command"] == container["startupProbe"]["exec"]["command"] == ["healthcheck"]
    readiness = container.get("readinessProbe", {}).get("httpGet", {}).get("path")
    assert readiness == ("/readyz" if one["metadata"]["name"] == "web" else None)


def test_both_ways_to_scale_are_of_the_clones_and_of_one_metric() -> None:
    (hpa,), (keda,) = manifests("autoscaling/hpa.yaml"), manifests("autoscaling/keda.yaml")
    (rule,) = manifests("autoscaling/adapter-rule.yaml")[0]["rules"]["external"]
    metric = hpa["spec"]["metrics"][0]["external"]["metric"]
    assert hpa["spec"]["scaleTargetRef"]["name"] == keda["spec"]["scaleTargetRef"]["name"] == "worker-clones"
    assert metric["name"] == rule["name"]["as"] == rule["seriesQuery"] == "vmpooler_celery_queue_messages"
    query = keda["spec"]["triggers"][0]["metadata"]["query"]
    assert f'{metric["name"]}{{queue="{metric["selector"]["matchLabels"]["queue"]}"}}' in query
    taken = next(one for one in deployments() if one["metadata"]["name"] == "worker-clones")
    words = container_of(taken)["command"]
    assert metric["selector"]["matchLabels"]["queue"] in words[words.index("-Q") + 1].split(",")


def test_the_scrape_finds_the_web() -> None:
    (monitor,) = manifests("monitoring/servicemonitor.yaml")
    services = [one for one in manifests() if one["kind"] == "Service"]
    wanted = monitor["spec"]["selector"]["matchLabels"]
    (found,) = [one for one in services if wanted.items() <= one["metadata"]["labels"].items()]
    assert monitor["spec"]["endpoints"][0]["port"] in [port["name"] for port in found["spec"]["ports"]]


def test_the_sample_configuration_is_valid_and_makes_it_the_manager() -> None:
    assert load_settings({}, KUBERNETES / "vmpooler.yaml").config.manage_pools is True


def test_no_secret_is_in_a_manifest() -> None:
    assert not [one for one in manifests() if one["kind"] == "Secret"]
    for path in KUBERNETES.rglob("*.yaml"):
        assert not re.search(r"change-me|password:", path.read_text(encoding="utf-8"))
    assert (
        yaml.safe_load((KUBERNETES / "namespace.yaml").read_text(encoding="utf-8"))["metadata"]["name"]
        == (kustomization()["namespace"])
    )


def test_only_web_and_flower_get_their_passwords() -> None:
    found = {
        one["metadata"]["name"]: {variable["name"] for variable in container_of(one)["env"]} - {"REDIS_URL"}
        for one in deployments()
    }
    assert {name: names for name, names in found.items() if names} == {
        "web": {"WEB_USERS", "WEB_TOKENS"},
        "flower": {"FLOWER_BASIC_AUTH"},
    }
