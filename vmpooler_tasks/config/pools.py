"""The options of the pool manager in `:config:`, and one entry of `:pools:`."""

from typing import Annotated, Any

from pydantic import ConfigDict, Field

from vmpooler_tasks.config.types import (
    Age,
    AtLeastOne,
    Count,
    HoursOrNever,
    Interval,
    Minutes,
    MinutesOrNever,
    MinutesOrZero,
    NotBlank,
    Number,
    Section,
    Switch,
    Text,
    Texts,
    UnlessFalse,
)

Mark = Annotated[Text, Field(max_length=63, pattern=r"^([A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?)?$")]
"""The name of an installation. It has to be valid as a tag, an annotation and a part of a TXT record."""


class ManagerOptions(Section):
    """The options of `:config:` that matter only with `manage_pools`, with VMPooler's names and units."""

    manage_pools: Switch = Field(False, description="be the pool manager, instead of VMPooler's own")
    check_loop_delay_min: Interval = Field(5, description="seconds between two checks of the pools and requests")
    task_limit: Count = Field(10, description="clones in flight for pools, on all workers together")
    ondemand_clone_limit: Count = Field(10, description="clones in flight for requests, on all workers together")
    timeout: Minutes = Field(
        15, description="minutes in pending after which a VM has failed; a pool may have its own value"
    )
    timeout_notification: MinutesOrNever = Field(
        5, description="minutes in pending after which the log warns once (0: never); a pool may have its own value"
    )
    ready_ttl: MinutesOrZero = Field(
        60,
        description="minutes in ready after which a VM is recycled (0: at its next check); a pool may have its own",
    )
    vm_checktime: MinutesOrNever = Field(1, description="minutes between two checks of a ready VM")
    check_ready_vm_hostname_for_mismatch: UnlessFalse = Field(
        True,
        description="recycle a ready VM that reports another hostname; only `false` switches that off; a pool may have "
        "`check_hostname_for_mismatch`",
    )
    vm_lifetime: HoursOrNever = Field(
        24, description="hours that a user keeps a VM (0: no limit), unless its checkout set another value"
    )
    vm_lifetime_auth: HoursOrNever | None = Field(None, description="the same for a request made with a token")
    max_vm_retries: Count = Field(3, description="times that a failed clone of a request is tried again")
    max_ondemand_instances_per_request: AtLeastOne = Field(
        10,
        description="VMs of one name that `vmpooler-tasks request` asks for at most; requests of VMPooler's API have"
        " its own limit",
    )
    ondemand_request_ttl: Minutes = Field(5, description="minutes after which an unfilled request fails")
    removed_pool_grace: Age = Field(
        3600,
        description="seconds that a pool must be in no live process's configuration before its VMs are drained",
    )
    destroy_max_percent: Annotated[float, Number, Field(ge=0, le=100, allow_inf_nan=False)] = Field(
        25,
        description="maximum share of a pool's VMs, in percent, that an inspection may complete because they are in no "
        "queue or missing from the inventory; above it, and above two VMs, the brake holds them (100: no limit)",
    )
    installation: Mark = Field(
        "",
        description="name of this installation, the mark of all VMs that it makes (`A-Z a-z 0-9 _ -`). "
        "Without it, providers of real hypervisors mark nothing, and VMs in no queue are reported, never destroyed",
    )
    create_folders: Switch = Field(False, description="vSphere: make the folder of a pool if it does not exist")
    create_linked_clones: Switch = Field(
        True, description="vSphere and libvirt: make linked clones; a pool may have `create_linked_clone`"
    )
    create_template_delta_disks: Switch = Field(
        False, description="vSphere: give the disks of a template a layer that linked clones share"
    )
    manage_host_selection: Switch = Field(False, description="vSphere: put each clone on a host with little load")
    utilization_limit: Annotated[float, Number, Field(gt=0, le=100, allow_inf_nan=False)] = Field(
        90, description="vSphere: percent of CPU or memory above which a host gets no clone (`manage_host_selection`)"
    )
    host_selection_max_age: Interval = Field(
        60, description="vSphere: seconds after which the load of the hosts is read again (`manage_host_selection`)"
    )
    purge_unconfigured_resources: Switch = Field(
        False,
        description="destroy VMs with the mark of this installation whose pool is in no configuration, once `pools"
        " confirm --provider` has confirmed it; also an option of a provider",
    )
    purge_unconfigured_folders: Switch = Field(False, description="older name of `purge_unconfigured_resources`")
    prefix: Text = Field("", description="start of the names of VMs")
    domain: Text | None = Field(None, description="domain of the VMs, if no `:dns_configs:` entry sets one")
    clone_target: Text | None = Field(None, description="where clones are made; a pool may have its own value")
    lease_seconds: Annotated[float, Number, Field(ge=1, le=3600, allow_inf_nan=False)] = Field(
        60, description="seconds after which another worker takes over the clones and destructions of a killed worker"
    )
    max_tries: AtLeastOne = Field(
        3, description="times that a clone or a destruction is tried at the provider, if a later one may succeed"
    )
    breaker_failures: AtLeastOne = Field(
        5,
        description="failures in a row after which the circuit breaker suspends a pool; a provider if two pools fail",
    )
    breaker_seconds: Age = Field(
        30,
        description="seconds that one is suspended; doubled after each failure, up to ten times this value",
    )


class Pool(Section):
    """One entry of `:pools:`. Its provider checks any further options."""

    model_config = ConfigDict(frozen=True, extra="allow")

    name: Annotated[Text, NotBlank, Field(min_length=1, description="name, as in the keys in Redis")]
    size: Annotated[int, Number, Field(ge=0, le=1_000_000)] = Field(0, description="ready and pending VMs to keep")
    alias: Texts = Field((), description="other names under which this pool can be requested")
    template: Text | None = Field(None, description="what the provider clones from")
    provider: Text | None = Field(None, description="a name in `:providers:`; optional if there is only one")
    clone_target: Text | None = Field(None, description="where clones are made, instead of the global value")
    timeout: Minutes | None = Field(None, description="minutes in pending, instead of the global value")
    timeout_notification: MinutesOrNever | None = Field(
        None, description="minutes in pending before the warning, instead of the global value"
    )
    ready_ttl: MinutesOrZero | None = Field(None, description="minutes in ready, instead of the global value")
    check_hostname_for_mismatch: UnlessFalse | None = Field(
        None, description="recycle a ready VM with another hostname, instead of the global value"
    )
    dns_plugin: Text | None = Field(None, description="a name in `:dns_configs:`, which sets the domain")

    def as_written(self) -> dict[str, Any]:
        """Return the whole entry, including the options of its provider."""
        return {**self.model_dump(exclude_none=True), **(self.model_extra or {})}
