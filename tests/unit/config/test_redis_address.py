"""An address of Redis means the same to the store, to Celery's broker and to its results."""

from pathlib import Path

import pytest
from kombu.utils import json

from tests.support.processes import ROOT
from vmpooler_tasks.config import load_settings
from vmpooler_tasks.config.redis_address import SCHEMES, address_problems, read_address, without_login
from vmpooler_tasks.errors import ConfigurationError
from vmpooler_tasks.tasks.celery import defaults
from vmpooler_tasks.tasks.celery.addresses import broker_settings, result_settings

SENTINELS = "sentinel://us%40er:p%2Fw@one:26380,two,[::1]:26381/3?master=mymaster"


@pytest.fixture
def files(tmp_path: Path) -> str:
    for name in ("ca", "cert", "key"):
        (tmp_path / name).touch()
    return f"ssl_ca_certs={tmp_path}/ca&ssl_certfile={tmp_path}/cert&ssl_keyfile={tmp_path}/key"


def test_parts_of_an_ordinary_address() -> None:
    address = read_address("redis://:p%23@db.example.com/2")
    assert (address.hosts, address.username, address.password) == ((("db.example.com", 6379),), None, "p#")
    assert (address.database, address.tls, address.master) == (2, {}, None)
    assert address.urls == ["redis://:p%23@db.example.com:6379/2"]
    assert "p#" not in repr(address)


def test_tls_is_verified_unless_switched_off(files: str) -> None:
    verified = {"ssl_cert_reqs": "required", "ssl_check_hostname": True}
    assert read_address("rediss://h/0").tls == verified
    assert read_address("rediss://h/0?ssl_cert_reqs=CERT_REQUIRED").tls == verified
    assert read_address("rediss://h/0?ssl_cert_reqs=none").tls == {"ssl_cert_reqs": "none", "ssl_check_hostname": False}
    named = read_address(f"rediss://h/0?ssl_check_hostname=false&{files}").tls
    assert named.keys() == {*verified, "ssl_ca_certs", "ssl_certfile", "ssl_keyfile"}
    assert named["ssl_check_hostname"] is False


def test_celery_gets_the_same_tls_options(files: str) -> None:
    url = f"rediss://user:word@h:7000/1?{files}"
    tls = read_address(url).tls
    broker, results = broker_settings(url), result_settings(url)
    assert broker["broker_url"] == results["result_backend"] == "rediss://user:word@h:7000/1"
    assert broker["broker_use_ssl"] == results["redis_backend_use_ssl"] == tls
    assert broker["broker_transport_options"] == defaults.broker_transport_options


def test_address_without_tls() -> None:
    assert broker_settings("redis://h")["broker_use_ssl"] is None
    assert result_settings("redis://h")["redis_backend_use_ssl"] is None


def test_address_of_a_socket() -> None:
    url = "unix://us%40er:p%2Fw@/run/a%20b/redis.sock?db=3"
    address = read_address(url)
    assert (address.hosts, address.path, address.database) == ((), "/run/a b/redis.sock", 3)
    assert address.login == {"username": "us@er", "password": "p/w", "db": 3}
    assert address.server == {"unix_socket_path": "/run/a b/redis.sock"}
    theirs = "redis+socket://us%40er:p%2Fw@/run/a%20b/redis.sock?virtual_host=3"
    assert broker_settings(url)["broker_url"] == result_settings(url)["result_backend"] == theirs
    assert without_login(url) == "unix:///run/a%20b/redis.sock?db=3"


@pytest.mark.parametrize(
    ("url", "login", "said"),
    [
        ("redis://user@h/0", {"username": "user", "password": None, "db": 0}, "redis://h/0"),
        ("redis://user:@h/0", {"username": "user", "password": None, "db": 0}, "redis://h/0"),
        ("redis://:%C3%A9%25%3B%2B+@h", {"username": None, "password": "é%;++", "db": 0}, "redis://h"),
        ("redis://h/2?db=3", {"username": None, "password": None, "db": 3}, "redis://h/3"),
        ("redis://:p@[::1]:7000?db=3", {"username": None, "password": "p", "db": 3}, "redis://[::1]:7000/3"),
    ],
)
def test_login_and_database(url: str, login: dict[str, object], said: str) -> None:
    address = read_address(url)
    assert address.login == login
    assert without_login(url) == said
    for theirs in (broker_settings(url)["broker_url"], result_settings(url)["result_backend"]):
        assert read_address(theirs) == address


def test_an_empty_host_is_this_machine() -> None:
    assert read_address("redis:///1").urls == ["redis://localhost:6379/1"]


def test_sentinels() -> None:
    address = read_address(SENTINELS)
    assert address.hosts == (("one", 26380), ("two", 26379), ("::1", 26381))
    assert (address.username, address.password, address.database, address.master) == ("us@er", "p/w", 3, "mymaster")
    login = "sentinel://us%40er:p%2Fw@"
    assert address.urls == [f"{login}one:26380/3", f"{login}two:26379/3", f"{login}[::1]:26381/3"]
    assert without_login(SENTINELS) == "sentinel://one:26380,two,[::1]:26381/3"
    broker, results = broker_settings(SENTINELS), result_settings(SENTINELS)
    assert broker["broker_url"] == results["result_backend"] == ";".join(address.urls)
    assert broker["broker_transport_options"]["master_name"] == "mymaster"
    assert results["result_backend_transport_options"]["master_name"] == "mymaster"


def test_sentinels_have_their_own_login_and_the_tls_of_redis() -> None:
    url = f"{SENTINELS}&sentinel_username=s&sentinel_password=w&ssl_cert_reqs=required"
    options = broker_settings(url)["broker_transport_options"]["sentinel_kwargs"]
    assert {"ssl": True, "socket_timeout": 5}.items() <= options.items()
    assert options["credential_provider"].get_credentials() == ("s", "w")
    assert "master_name" not in defaults.broker_transport_options


def test_no_setting_of_celery_shows_the_login_of_the_sentinels() -> None:
    url = f"{SENTINELS}&sentinel_username=hidden-user&sentinel_password=hidden-password"
    settings = [broker_settings(url), result_settings(url)]
    assert "hidden" not in repr(settings) + json.dumps(settings)  # type: ignore[no-untyped-call]


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("sentinel://h/0", "a sentinel:// address needs the name of its master: ?master=mymaster"),
        ("rediss://h/x", "the database must be a number, as in rediss://host:6379/0"),
        ("rediss://h/0?ssl_cert_reqs=maybe", "ssl_cert_reqs must be one of required, optional, none"),
        ("rediss://h/0?ssl_check_hostname=perhaps", "ssl_check_hostname must be true or false"),
        ("rediss://h/0?ssl_ca_certs=/nonexistent", "ssl_ca_certs: there is no file /nonexistent"),
        ("rediss://h/0?ssl_keyfile=/dev/null", "ssl_certfile and ssl_keyfile need each other"),
        ("rediss://h/0?ssl_ca_cert=x", "unknown option ssl_ca_cert; did you mean ssl_ca_certs?"),
        ("redis://h/0?ssl_cert_reqs=none", "option ssl_cert_reqs needs rediss:// or sentinel://"),
        ("redis://h/0?socket_timeout=3", "unknown option socket_timeout: remove it; redis:// takes only db"),
        ("redis://h/0?protocol=3", "unknown option protocol: remove it"),
        ("redis://h/0?health_check_interval=3", "unknown option health_check_interval: remove it"),
        ("redis://h/0?virtual_host=3", "unknown option virtual_host; did you mean db?"),
        ("redis://h/0?master=m", "option master needs sentinel://"),
        ("redis://h/0?db=1&db=2", "option db is given 2 times"),
        ("redis://h/0?db=", "option db is blank: give a value, or remove it"),
        ("redis://h/0?db", "option db is blank"),
        ("redis://h/0?db=-1", "the database must be a number, as in redis://host:6379/0"),
        ("redis://h/0?db=٣", "the database must be a number"),
        ("redis://h/0/1", "the database must be a number"),
        ("redis://h/0#1", "a # must be encoded as %23"),
        ("redis://a,b/0", "only sentinel:// may name several hosts"),
        ("redis://a b/0", "'a b' is not a host name or an address"),
        ("redis://%2Frun%2Fredis.sock/0", "is not a host name or an address"),
        ("redis://h:0/0", "a port must be from 1 to 65535"),
        ("redis://h:65536/0", "is not an address"),
        ("sentinel://a,,b/0?master=m", "the name of a Sentinel is missing"),
        ("sentinel://a/0?master_name=m", "unknown option master_name; did you mean master?"),
        ("sentinel://a/0?service_name=m&master=m", "unknown option service_name; did you mean master?"),
        ("unix://run/redis.sock", "three slashes: unix:///run/redis.sock"),
        ("unix:///", "three slashes"),
        ("unix:///run/redis.sock?virtual_host=1", "unknown option virtual_host; did you mean db?"),
        ("unix:///run/redis.sock?db=x", "the database must be a number, as in unix:///run/redis.sock?db=0"),
        ("unix:///run/redis.sock?ssl_cert_reqs=none", "option ssl_cert_reqs needs rediss:// or sentinel://"),
        (f"unix:///{'x' * 107}", "the path of a socket may have at most 107 bytes"),
        ("unix:///a%00b", "the path of a socket may not contain a NUL"),
        ("redis+socket:///run/redis.sock", "did you mean unix:///run/redis.sock?"),
        ("valkey://h/0", "did you mean redis://?"),
        ("valkeys://h/0", "did you mean rediss://?"),
        ("redsi://h/0", "did you mean redis://?"),
        ("amqp://h", "must start with redis:// or rediss:// or sentinel:// or unix://"),
        ("sentinel://h:x/0?master=m", "is not an address"),
    ],
)
@pytest.mark.parametrize("variable", ["REDIS_URL", "CELERY_BROKER_URL"])
def test_wrong_addresses_are_reported(url: str, said: str, variable: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_settings({variable: url.replace("//", "//:hunter2@"), "VMPOOLER_CONFIG": "{}"})
    (problem,) = [problem for problem in caught.value.problems if said in problem]
    assert problem.startswith(f"{variable}: ")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["redis://h", "rediss://h:1/0", SENTINELS, "redis://h/0?db=3", "rediss://h/0?db=3", "unix:///run/r?db=2"]
)
def test_valid_addresses_have_no_problem(url: str) -> None:
    assert not list(address_problems(url))
    assert load_settings({"REDIS_URL": url, "VMPOOLER_CONFIG": "{}"}).redis.location == url


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_examples_are_valid_and_documented(scheme: str) -> None:
    assert not list(address_problems(SCHEMES[scheme].example))
    text = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
    section = text.split("## The address of Redis\n")[1].split("\n## ")[0]
    (row,) = [line for line in section.splitlines() if line.startswith(f"| `{scheme}://` |")]
    assert f"`{SCHEMES[scheme].example}`" in row
    assert [f"`{option}`" for option in SCHEMES[scheme].options] == row.split("|")[3].strip().split(", ")
