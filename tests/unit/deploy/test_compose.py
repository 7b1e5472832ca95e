"""The compose file follows the Compose specification, and does what is said of it."""

import json
import re
from importlib import resources

import jsonschema
import pytest

from tests.support import deployment
from tests.support.deployment import COMPOSE, DEPLOY, container_of
from vmpooler_tasks.config import load_settings
from vmpooler_tasks.tasks.celery import defaults

SERVICES = deployment.compose()["services"]
OURS = {name: service for name, service in SERVICES.items() if name != "redis"}
SECONDS = re.compile(r"(\d+)s")


def seconds(text: str) -> int:
    found = SECONDS.fullmatch(text)
    assert found, text
    return int(found[1])


def test_it_follows_the_specification() -> None:
    text = resources.files("check_jsonschema").joinpath("builtin_schemas/vendor/compose-spec.json").read_text("utf-8")
    schema = json.loads(text)
    validator = jsonschema.validators.validator_for(schema)(schema)
    problems = [f"{list(error.path)}: {error.message}" for error in validator.iter_errors(deployment.compose())]
    assert not problems


def test_every_variable_has_a_default_or_stands_in_the_sample() -> None:
    text = COMPOSE.read_text(encoding="utf-8")
    named = set(re.findall(r"(?<!\$)\$\{(\w+)", text))
    demanded = set(re.findall(r"(?<!\$)\$\{(\w+):\?", text))
    sample = (DEPLOY / "env.sample").read_text(encoding="utf-8")
    assert demanded <= deployment.settings_of(DEPLOY / "env.sample").keys()
    others = {"VMPOOLER_TASKS_IMAGE", "REDIS_IMAGE"}
    assert {name for name in named if f"{name}=" not in sample} <= others
    assert {name for name in deployment.settings_of(DEPLOY / "env.sample") if name not in named} == {"COMPOSE_PROFILES"}


def test_the_samples_of_the_web_are_valid() -> None:
    sample = deployment.settings_of(DEPLOY / "env.sample")
    web = load_settings({name: sample[name] for name in ("WEB_USERS", "WEB_TOKENS")}, DEPLOY / "vmpooler.yaml").web
    assert [(user.name, user.role) for user in web.users] == [("operator", "operate")]
    assert [(token.name, token.role) for token in web.tokens] == [("prometheus", "read")]


@pytest.mark.parametrize("name", SERVICES)
def test_it_may_do_little(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "network_mode", "pid", "ipc"} & service.keys()
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_redis_is_reached_from_the_inner_network_alone() -> None:
    networks = deployment.compose()["networks"]
    assert [networks[name] for name in SERVICES["redis"]["networks"]] == [{"internal": True}]
    assert "ports" not in SERVICES["redis"]


def test_there_are_two_beats() -> None:
    assert SERVICES["beat"]["deploy"]["replicas"] == 2


@pytest.mark.parametrize("name", OURS)
def test_it_has_time_to_finish(name: str) -> None:
    grace = seconds(OURS[name]["stop_grace_period"])
    assert grace > (defaults.task_time_limit if " worker " in OURS[name]["command"] else 10)


def test_what_is_mounted_is_there() -> None:
    for service in SERVICES.values():
        for volume in service["volumes"]:
            source = re.sub(r"\$\{\w+:-(.*?)\}", r"\1", volume).split(":")[0]
            assert source in deployment.compose()["volumes"] or (DEPLOY / source).is_file(), volume


def test_secrets_come_from_the_environment_alone() -> None:
    for service in SERVICES.values():
        for name, value in service["environment"].items():
            if re.search("PASSWORD|USERS|TOKENS|AUTH|URL", name):
                assert value.startswith("${")


def test_only_web_and_flower_get_their_passwords() -> None:
    found = {
        name: {one for one in service["environment"] if re.match("WEB|FLOWER", one)} for name, service in OURS.items()
    }
    assert {name: names for name, names in found.items() if names} == {
        "web": {"WEB_USERS", "WEB_TOKENS"},
        "flower": {"FLOWER_BASIC_AUTH"},
    }


def bytes_of(text: str) -> int:
    """Return the bytes of `512m` (compose), `512Mi` (Kubernetes) or `512mb` (redis.conf)."""
    number, unit = re.fullmatch(r"(\d+)([mg])[ib]?", text.lower()).groups()  # type: ignore[union-attr]
    return int(number) * {"m": 2**20, "g": 2**30}[unit]


def test_every_service_has_the_limit_of_memory_that_kubernetes_gives_it() -> None:
    names = {"clones": "worker-clones", "checks": "worker-checks", "maintenance": "worker-maintenance"}
    limits = {
        one["metadata"]["name"]: container_of(one)["resources"]["limits"]["memory"] for one in deployment.deployments()
    }
    for name, service in OURS.items():
        assert bytes_of(service["mem_limit"]) == bytes_of(limits[names.get(name, name)]), name


def test_redis_has_room_beside_its_data() -> None:
    """A rewrite of the AOF copies what is written meanwhile: at worst, everything."""
    text = (DEPLOY / "redis" / "redis.conf").read_text(encoding="utf-8")
    (maximum,) = re.findall(r"^maxmemory (\w+)$", text, re.MULTILINE)
    assert bytes_of(SERVICES["redis"]["mem_limit"]) >= 2 * bytes_of(maximum)


def test_images_of_others_have_an_exact_version_or_a_digest() -> None:
    (redis,) = re.findall(r"\$\{REDIS_IMAGE:-(.+)\}", SERVICES["redis"]["image"])
    assert re.fullmatch(r"redis:\d+\.\d+\.\d+-alpine(@sha256:[0-9a-f]{64})?", redis)
    (python,) = re.findall(
        r"^ARG PYTHON_IMAGE=(.+)$", deployment.CONTAINERFILE.read_text(encoding="utf-8"), re.MULTILINE
    )
    assert re.fullmatch(r"python:3\.13\.\d+-slim-\w+@sha256:[0-9a-f]{64}", python)
