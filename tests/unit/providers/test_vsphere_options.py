"""The options, notes and addresses of the vSphere provider."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from vmpooler_tasks.errors import PermanentProviderError
from vmpooler_tasks.providers import PoolSpec
from vmpooler_tasks.providers.vsphere.api.properties import FoundObject
from vmpooler_tasks.providers.vsphere.guests import address_of
from vmpooler_tasks.providers.vsphere.marks import Annotation, marked_annotation, read_annotation
from vmpooler_tasks.providers.vsphere.options import VsphereOptions, VspherePool

OF_VMPOOLER = {"server": "vsphere.example.com", "username": "vmpooler", "password": "swimsw1msw!m"}


def test_options_of_vmpooler_load_unchanged_and_hide_the_password() -> None:
    more = {"insecure": True, "connection_pool_timeout": 60, "datacenter": "dc", "circuit_breaker_timeout": 30}
    options = VsphereOptions.model_validate({**OF_VMPOOLER, **more, "folder_whitelist": ["a"]})
    assert (options.address, options.read_password()) == (("vsphere.example.com", 443), "swimsw1msw!m")
    assert "swimsw1msw" not in repr(options)


@pytest.mark.parametrize(
    ("changes", "count"),
    [
        ({"password": None}, 1),
        ({"password_file": "/etc/secret"}, 1),
        ({"server": "name:99999"}, 1),
        ({"server": ":443"}, 1),
        ({"ready_port": 70000, "insecure": "perhaps", "no_such_option": 1}, 3),
    ],
)
def test_all_wrong_options_are_reported(changes: dict[str, Any], count: int) -> None:
    with pytest.raises(ValidationError) as caught:
        VsphereOptions.model_validate({**OF_VMPOOLER, **changes})
    assert caught.value.error_count() == count


def test_wrong_options_of_a_pool_are_reported_together() -> None:
    spec = PoolSpec(name="small", options={"folder": "/", "ready_port": -1, "size": 3})
    with pytest.raises(PermanentProviderError, match=r"^pool small: folder: .*; ready_port: "):
        VspherePool.of(spec)
    assert VspherePool.of(PoolSpec(name="small", options={"folder": "/Pooled VMs/small/"})).folder == "Pooled VMs/small"


@pytest.mark.parametrize("notes", [None, "", "Ask Ann", "[1]", "{", "[" * 100_000, '{"installation": 5}'])
def test_notes_of_a_person_have_no_mark_and_are_kept(notes: str | None) -> None:
    assert read_annotation(notes).installation is None
    marked = marked_annotation(notes, vm="vm1", pool="small", installation="lab")
    assert read_annotation(marked) == Annotation(name="vm1", pool="small", installation="lab")
    if notes == "Ask Ann":
        assert json.loads(marked)["notes"] == notes


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("10.0.0.5", "10.0.0.5"),
        ("fd00::5", "fd00::5"),
        ("169.254.1.1", None),
        ("fe80::1", None),
        ("::", None),
        ("nonsense", None),
        (None, None),
    ],
)
def test_an_address_that_nobody_else_reaches_does_not_count(address: str | None, expected: str | None) -> None:
    assert address_of(FoundObject(None, {"guest.ipAddress": address})) == expected


def test_ipv4_comes_before_ipv6() -> None:
    class Card:
        ipAddress = ("fe80::1", "10.0.0.5")  # noqa: N815 - vCenter's name

    assert address_of(FoundObject(None, {"guest.ipAddress": "fd00::5", "guest.net": [Card()]})) == "10.0.0.5"
