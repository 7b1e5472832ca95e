"""The options of EC2: those of VMPooler load unchanged, and a pool has its own before the section's."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import ROOT
from vmpooler_tasks.errors import ConfigurationError, PermanentProviderError
from vmpooler_tasks.providers import PoolSpec, ProviderContext, registry
from vmpooler_tasks.providers.ec2.options import POOL_OPTIONS, Ec2Options, LaunchPlace, options_of

VMPOOLERS = {
    "provider_class": "aws",
    "region": "us-west",
    "zone": "us-west-2b",
    "amisize": "a1.small",
    "volume_size": "10",
    "dns_zone_resource_name": "subdomain-example-com",
    "domain": "subdomain.example.com",
    "resources_allowlist": ["user=bob", "", "custom-pool"],
    "purge_unconfigured_resources": True,
    "connection_pool_size": 20,
    "connection_pool_timeout": 60,
    "ABS_AWS_ACCESS_KEY": "key",
    "ABS_AWS_SECRET_KEY": "s3cret",
}
"""The options of `vmpooler.yaml.example` and the code of puppetlabs/vmpooler-provider-ec2."""

VMPOOLERS_POOL = {
    "name": "almalinux-x86_64",
    "alias": ["almalinux-64"],
    "template": "ami-foobar1234",
    "size": 5,
    "zone": "us-new-zone",
    "amisize": "a1.large",
    "volume_size": "20",
    "provision": True,
}


def load(**options: Any) -> None:
    registry.load(ProviderContext(name="ec2", options=options, redis_url="redis://127.0.0.1")).close()


def of_pool(section: dict[str, Any], **own: Any) -> Any:
    return options_of(Ec2Options.model_validate(section), PoolSpec(name="p", options=own))


def test_vmpoolers_options_load_unchanged() -> None:
    load(**VMPOOLERS)
    options = of_pool(VMPOOLERS, **VMPOOLERS_POOL)
    assert (options.amisize, options.volume_size, options.places) == (
        "a1.large",
        20,
        (LaunchPlace(zone="us-new-zone"),),
    )


def test_secrets_are_not_shown() -> None:
    assert "s3cret" not in repr(Ec2Options.model_validate({**VMPOOLERS, "user_data": "s3cret"}))


def test_all_problems_are_named_at_once() -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(region="us-east-1", volume_size=0, readiness="soon", max_attempts="s3cret", regoin="x")
    named = {problem.split(":")[0] for problem in caught.value.problems}
    assert named == {f"providers.ec2.{option}" for option in ("volume_size", "readiness", "max_attempts", "regoin")}
    assert "s3cret" not in str(caught.value)


def test_half_a_login_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ABS_AWS_SECRET_KEY", raising=False)
    with pytest.raises(ConfigurationError, match="ABS_AWS_ACCESS_KEY and ABS_AWS_SECRET_KEY must both be set"):
        load(region="us-east-1", ABS_AWS_ACCESS_KEY="key")


def test_without_a_region_the_option_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(ConfigurationError, match="region is not set"):
        load()


def test_a_profile_that_does_not_exist(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    with pytest.raises(ConfigurationError, match="lost"):
        load(region="us-east-1", profile="lost")


@pytest.mark.parametrize(
    ("section", "own", "places"),
    [
        ({}, {}, ["any zone"]),
        ({"zone": "a"}, {}, ["a"]),
        ({"zone": "a"}, {"zone": "b"}, ["b"]),
        ({"zone": "a"}, {"zones": ["b", "c"]}, ["b", "c"]),
        ({"zone": "a", "subnets": ["s1", "s2"]}, {}, ["s1", "s2"]),
        ({"subnets": ["s1"]}, {"zone": "b"}, ["b"]),
        ({"zones": ["a"]}, {"subnets": "s2"}, ["s2"]),
    ],
)
def test_a_pool_with_a_place_of_its_own_uses_none_of_the_sections(
    section: dict[str, Any], own: dict[str, Any], places: list[str]
) -> None:
    assert [str(place) for place in of_pool(section, **own).places] == places


def test_the_options_of_a_pool_come_before_those_of_the_section(tmp_path: Path) -> None:
    file = tmp_path / "user-data"
    file.write_text("#!/bin/sh\n")
    section = {"amisize": "t3.small", "spot": True, "user_data": "section's", "key_name": "ops"}
    options = of_pool(section, instance_type="t3.large", spot=False, user_data_file=str(file), size=3)
    assert (options.amisize, options.spot, options.key_name) == ("t3.large", False, "ops")
    assert options.user_data_text == "#!/bin/sh\n"


def test_wrong_options_of_a_pool_are_permanent_errors() -> None:
    with pytest.raises(PermanentProviderError, match=r"volume_size: .*; readiness: "):
        of_pool({}, volume_size=-1, readiness="soon")


def test_the_document_lists_every_option() -> None:
    text = (ROOT / "docs/providers/ec2.md").read_text(encoding="utf-8")
    tables = text.split("## Options")[1].split("\n## ")[0]
    listed = {
        name for row in re.findall(r"^\| (`.*?) \|", tables, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)
    }
    fields = set(Ec2Options.model_fields) - {"access_key", "secret_key"}
    assert listed == fields | POOL_OPTIONS | {"ABS_AWS_ACCESS_KEY", "ABS_AWS_SECRET_KEY"}
