"""The sources of the configuration, and the sections of VMPooler's own files that it reads."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from vmpooler_tasks.config import Pool, Settings, load_settings

# Every section and option of VMPooler's example file and documentation, in its own spelling.
VMPOOLERS_OWN = """
---
:providers:
  :vsphere-pdx:
    server: 'vsphere.pdx.example.com'
    username: 'vmpooler-pdx'
    password: 'correct horse'
    provider_class: 'vsphere'
    purge_unconfigured_folders: true
    folder_whitelist: ['keep']
  :dummy:
    filename: '/var/lib/dummy.yaml'
    connection_pool_size: 1
    createvm_max_time: 30
:vsphere:
  server: 'vsphere.example.com'
  insecure: true
:dns_configs:
  :example:
    dns_class: dynamic-dns
    domain: example.com
:redis:
  server: 'redis.example.com'
  port: 6380
  username: 'vmpooler'
  password: 'battery staple'
  data_ttl: 24
  connection_pool_size: 10
  connection_pool_timeout: 5
  reconnect_attempts: 10
:graphs:
  server: 'graphite.example.com'
:statsd:
  server: 'statsd.example.com'
  prefix: 'vmpooler'
  port: 8125
:graphite:
  server: 'graphite.example.com'
:prometheus:
  prefix: 'vmpooler'
:tracing:
  enabled: 'true'
:auth:
  provider: 'ldap'
  :ldap:
    host: 'ldap.example.com'
    base: 'ou=users,dc=company,dc=com'
:tagfilter:
  url: !ruby/regexp '/(.*)\\//'
:uptime: 12
:config:
  site_name: 'vmpooler'
  logfile: '/var/log/vmpooler.log'
  request_logger: true
  clone_target: 'cluster1'
  task_limit: 10
  timeout: 15
  timeout_notification: 5
  vm_checktime: 1
  vm_lifetime: 12
  vm_lifetime_auth: 24
  max_lifetime_upper_limit: 100
  ready_ttl: 60
  allowed_tags: ['created_by', 'project']
  domain: 'example.com'
  prefix: 'pooler-'
  migration_limit: 5
  max_tries: 3
  retry_factor: 10
  check_loop_delay_min: 5
  check_loop_delay_max: 60
  check_loop_delay_decay: 2.0
  manage_host_selection: true
  host_selection_max_age: 60
  utilization_limit: 90
  create_folders: true
  create_linked_clones: true
  create_template_delta_disks: false
  experimental_features: true
  purge_unconfigured_folders: true
  purge_unconfigured_resources: true
  usage_stats: true
  ondemand_clone_limit: 10
  ondemand_request_ttl: 5
  max_ondemand_instances_per_request: 10
  max_vm_retries: 3
  backend_weight:
    'backend1': 60
  dlq_enabled: true
  dlq_ttl: 48
  purge_enabled: true
  max_pending_age: 600
  health_check_enabled: true
  health_thresholds:
    pending_queue_max: 7
:pools:
  - name: 'debian-12-x86_64'
    alias: ['debian-12-64', 'debian-12']
    template: 'Templates/debian-12'
    folder: 'Pooled VMs/debian-12'
    datastore: 'vmstorage'
    datacenter: 'dc1'
    clone_target: 'cluster2'
    size: 5
    timeout: 15
    ready_ttl: 1440
    provider: vsphere
    create_linked_clone: false
    check_loop_delay_min: 5
    dns_plugin: example
  - name: 'centos-7-x86_64'
    alias: 'centos-7'
    size: 0
"""


def load(text: str, environ: Mapping[str, str] | None = None) -> Settings:
    return load_settings({"VMPOOLER_CONFIG": text, **(environ or {})})


def test_a_file_of_vmpoolers_loads_unchanged() -> None:
    settings = load(VMPOOLERS_OWN)
    assert settings.config.dlq_enabled
    assert settings.config.dlq_ttl == 48
    assert settings.config.purge_enabled
    assert settings.config.max_pending_age == 600
    assert settings.config.health_check_enabled
    assert settings.config.health_thresholds.pending_queue_max == 7
    assert settings.redis.location == "redis://vmpooler:battery%20staple@redis.example.com:6380/0"
    assert settings.redis.data_ttl == 24
    assert [(pool.name, pool.size, pool.alias) for pool in settings.pools] == [
        ("debian-12-x86_64", 5, ("debian-12-64", "debian-12")),
        ("centos-7-x86_64", 0, ("centos-7",)),
    ]


def test_plain_keys_mean_the_same_as_rubys_symbols() -> None:
    plain = VMPOOLERS_OWN.replace("\n:", "\n").replace("  :", "  ")
    assert ":config:" not in plain
    assert load(plain) == load(VMPOOLERS_OWN)


def test_defaults_are_those_of_the_guide() -> None:
    config = load_settings({}, None).config
    assert not any((config.dlq_enabled, config.purge_enabled, config.health_check_enabled, config.purge_dry_run))
    assert (config.dlq_ttl, config.dlq_max_entries) == (168, 10_000)
    assert (config.purge_interval, config.health_check_interval) == (3600, 300)
    assert (config.max_pending_age, config.max_ready_age) == (7200, 86400)
    assert (config.max_completed_age, config.max_orphaned_age) == (3600, 86400)
    assert (config.max_request_age, config.purge_max_percent, config.empty_pool_grace) == (86400, 100, 900)
    limits = config.health_thresholds
    assert (limits.pending_queue_max, limits.ready_queue_max) == (100, 500)
    assert (limits.dlq_max_warning, limits.dlq_max_critical) == (100, 1000)
    assert (limits.stuck_vm_age_threshold, limits.stuck_vm_max_warning, limits.stuck_vm_max_critical) == (7200, 10, 50)


@pytest.mark.parametrize("text", ["", "---\n", "# nothing but a comment\n", ":config:\n:pools:\n:redis:\n"])
def test_blank_files_and_blank_sections_mean_the_defaults(text: str, tmp_path: Path) -> None:
    file = tmp_path / "vmpooler.yaml"
    file.write_text(text)
    settings = load_settings({}, file)
    assert settings.config == Settings().config
    assert settings.pools == ()


def test_a_blank_health_thresholds_section_means_the_defaults() -> None:
    settings = load(":config:\n  health_check_enabled: true\n  health_thresholds:\n")
    assert settings.config.health_thresholds == Settings().config.health_thresholds


def test_inline_overrides_the_named_file_and_that_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def file(name: str, hours: int) -> Path:
        path = tmp_path / name
        path.write_text(f":config:\n  dlq_ttl: {hours}\n")
        return path

    monkeypatch.chdir(tmp_path)
    assert load_settings({}).source == "defaults"
    file("vmpooler.yaml", 1)
    named = {"VMPOOLER_CONFIG_FILE": str(file("named.yaml", 2))}
    inline = {**named, "VMPOOLER_CONFIG": ":config:\n  dlq_ttl: 3\n"}
    asked_for = file("asked-for.yaml", 4)
    assert load_settings({}).config.dlq_ttl == 1
    assert load_settings(named).config.dlq_ttl == 2
    assert load_settings(inline).config.dlq_ttl == 3
    assert load_settings(inline, asked_for).config.dlq_ttl == 4


def test_redis_url_overrides_variables_and_these_the_file() -> None:
    file = ":redis:\n  server: from-file\n  port: 1111\n  password: file\n"
    parts = {"REDIS_SERVER": "from-env", "REDIS_PORT": "2222", "REDIS_PASSWORD": "p@ss/word"}
    url = {"REDIS_URL": "rediss://from-url:3333/5"}
    assert Settings().redis.location == "redis://localhost:6379/0"
    assert load(file).redis.location == "redis://:file@from-file:1111/0"
    assert load(file, {"REDIS_SERVER": "from-env"}).redis.location == "redis://:file@from-env:1111/0"
    assert load(file, parts).redis.location == "redis://:p%40ss%2Fword@from-env:2222/0"
    assert load(file, {**parts, **url}).redis.location == "rediss://from-url:3333/5"


def test_the_broker_is_the_same_redis_unless_celery_broker_url_names_another() -> None:
    file = ":redis:\n  server: db\n"
    assert load(file).broker_location == "redis://db:6379/0"
    elsewhere = load(file, {"CELERY_BROKER_URL": "redis://:secret@broker:6379/1"})
    assert elsewhere.broker_location == "redis://:secret@broker:6379/1"
    assert elsewhere.redis.location == "redis://db:6379/0"


def test_variable_overrides_an_option_unless_it_is_empty() -> None:
    file = ":config:\n  purge_enabled: false\n  dlq_ttl: 24\n  max_ready_age: 100\n"
    given = {"PURGE_ENABLED": "true", "DLQ_TTL": "12.5", "MAX_READY_AGE": "", "REDIS_DATA_TTL": "9", "DLQ_ENABLED": "1"}
    settings = load(file, given)
    assert settings.config.purge_enabled
    assert settings.config.dlq_enabled
    assert settings.config.dlq_ttl == 12.5
    assert settings.config.max_ready_age == 100
    assert settings.redis.data_ttl == 9


def test_environment_alone_is_a_configuration() -> None:
    settings = load_settings({"PURGE_ENABLED": "true", "REDIS_SERVER": "db"}, None)
    assert settings.config.purge_enabled
    assert settings.redis.address == "redis://db:6379/0"


def test_extra_config_adds_missing_values(tmp_path: Path) -> None:
    first, second = tmp_path / "pools.yaml", tmp_path / "more.yaml"
    first.write_text(":config:\n  dlq_ttl: 1\n  dlq_enabled: true\n:pools:\n  - name: extra\n")
    second.write_text("config:\n  purge_enabled: true\npools:\n  - name: more\n")
    main = f":config:\n  dlq_ttl: 99\n  extra_config: '{first}, {second}'\n:pools:\n  - name: main\n"
    for settings in (load(main), load(main.replace("extra_config", "prefix"), {"EXTRA_CONFIG": f"{first},{second}"})):
        assert settings.config.dlq_ttl == 99
        assert settings.config.dlq_enabled
        assert settings.config.purge_enabled
        assert [pool.name for pool in settings.pools] == ["main", "extra", "more"]


def test_numbers_are_text_where_vmpooler_reads_text() -> None:
    settings = load(
        ":redis:\n  username: 5\n  password: 12345\n:pools:\n  - name: 2022\n    alias: 22\n    template: 1.5\n"
        "    provider: 3\n  - name: b\n    alias: [7, x]\n"
    )
    assert settings.redis.location == "redis://5:12345@localhost:6379/0"
    assert settings.pools == (
        Pool(name="2022", alias=("22",), template="1.5", provider="3"),
        Pool(name="b", alias=("7", "x")),
    )


@pytest.mark.parametrize("server", ["::1", "[::1]"])
def test_an_address_of_ipv6_is_a_server(server: str) -> None:
    assert load(f":redis:\n  server: '{server}'\n").redis.location == "redis://[::1]:6379/0"


def test_rubys_tags_are_read_as_plain_values() -> None:
    settings = load(
        ":tagfilter:\n  url: !ruby/regexp /x/\n"
        ":config: !ruby/hash:ActiveSupport::HashWithIndifferentAccess\n  dlq_ttl: 5\n"
        ":pools: !ruby/array:Array\n  - name: !ruby/symbol debian\n"
    )
    assert settings.config.dlq_ttl == 5
    assert [pool.name for pool in settings.pools] == ["debian"]


def test_anchors_and_merge_keys_work() -> None:
    settings = load(":pools:\n  - &base\n    name: one\n    size: 3\n  - <<: *base\n    name: two\n")
    assert [(pool.name, pool.size) for pool in settings.pools] == [("one", 3), ("two", 3)]


def test_published_options_are_written_as_in_yaml_without_secrets() -> None:
    published = load(VMPOOLERS_OWN, {"PURGE_DRY_RUN": "false"}).published()
    assert published["dlq_enabled"] == "true"
    assert published["purge_dry_run"] == "false"
    assert published["dlq_ttl"] == "48"
    assert published["max_pending_age"] == "600"
    assert published["health_thresholds.pending_queue_max"] == "7"
    assert published["redis"] == "redis://redis.example.com:6380/0"
    assert published["pools"] == "debian-12-x86_64,centos-7-x86_64"
    text = str(published)
    assert not any(secret in text for secret in ("battery", "staple", "correct horse", "vmpooler:"))


@pytest.mark.parametrize(
    "url",
    [
        "redis://:hunter2@host:6379/3",
        "rediss://user:hunter2@host:6379/3?ssl_cert_reqs=none",
        "redis://:hun%2Fter2@host:6379/3",
    ],
)
def test_public_address_has_host_port_and_database_only(url: str) -> None:
    shown = load_settings({"REDIS_URL": url}, None).redis.address
    assert shown in {"redis://host:6379/3", "rediss://host:6379/3"}


def test_settings_are_frozen_and_hide_secrets() -> None:
    settings = load(VMPOOLERS_OWN)
    with pytest.raises(ValueError, match="frozen"):
        settings.config.dlq_ttl = 1  # type: ignore[misc]
    assert "battery" not in repr(settings)
