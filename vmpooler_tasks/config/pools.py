"""What the pool manager can be told: the options of `:config:` that are its own, and one entry of `:pools:`."""

from typing import Annotated, Any

from pydantic import ConfigDict, Field

from vmpooler_tasks.config.types import (
    Age,
    AtLeastOne,
    Count,
    Given,
    HoursOrNever,
    Interval,
    Minutes,
    MinutesOrNever,
    Number,
    Section,
    Switch,
    Text,
    Texts,
)


class ManagerOptions(Section):
    """Of `:config:`, what only counts with `manage_pools`; VMPooler's names, units and defaults."""

    manage_pools: Switch = Field(False, description="be the pool manager (instead of VMPooler's own)")
    check_loop_delay_min: Interval = Field(5, description="seconds between two looks at the pools and requests")
    task_limit: Count = Field(10, description="clones in flight for pools, on all workers together")
    ondemand_clone_limit: Count = Field(10, description="clones in flight for requests, on all workers together")
    timeout: Minutes = Field(15, description="minutes in pending, after which a VM has failed; a pool may have its own")
    timeout_notification: MinutesOrNever = Field(
        5, description="minutes in pending, after which the log warns once (0: never); a pool may have its own"
    )
    ready_ttl: MinutesOrNever = Field(
        0, description="minutes in ready, after which a VM is recycled (0: never); a pool may have its own"
    )
    vm_checktime: MinutesOrNever = Field(1, description="minutes between two checks of a ready VM")
    vm_lifetime: HoursOrNever = Field(
        24, description="hours that a user keeps a VM (0: for ever), unless its checkout said otherwise"
    )
    vm_lifetime_auth: HoursOrNever | None = Field(None, description="the same for a request made with a token")
    max_vm_retries: Count = Field(3, description="times that a failed clone of a request is made again")
    max_ondemand_instances_per_request: AtLeastOne = Field(10, description="VMs that one request may ask for")
    ondemand_request_ttl: Minutes = Field(5, description="minutes after which an unfilled request has failed")
    prefix: Text = Field("", description="what the names of VMs begin with")
    domain: Text | None = Field(None, description="the VMs' domain, where no `:dns_configs:` names one")
    clone_target: Text | None = Field(None, description="where clones are made; a pool may have its own")
    lease_seconds: Annotated[float, Number, Field(ge=1, le=3600, allow_inf_nan=False)] = Field(
        60, description="seconds after which another worker takes up what a killed one was cloning or destroying"
    )
    breaker_failures: AtLeastOne = Field(
        5, description="clones that have to fail in a row, before a provider is left alone for a while"
    )
    breaker_seconds: Age = Field(
        30, description="seconds that it is left alone; twice as long each time that it fails again, up to ten times"
    )


class Pool(Section):
    """One entry of `:pools:`; what the provider reads from it is the provider's business."""

    model_config = ConfigDict(frozen=True, extra="allow")

    name: Annotated[Text, Given, Field(min_length=1, description="the name, as in the keys in Redis")]
    size: Annotated[int, Number, Field(ge=0, le=1_000_000)] = Field(0, description="ready and pending VMs to keep")
    alias: Texts = Field((), description="other names that this pool can be requested as")
    template: Text | None = Field(None, description="what the provider clones from")
    provider: Text | None = Field(None, description="a name in `:providers:`; may be left out where there is one only")
    clone_target: Text | None = Field(None, description="where clones are made, instead of the global one")
    timeout: Minutes | None = Field(None, description="minutes in pending, instead of the global ones")
    timeout_notification: MinutesOrNever | None = Field(None, description="minutes, instead of the global ones")
    ready_ttl: MinutesOrNever | None = Field(None, description="minutes in ready, instead of the global ones")
    dns_plugin: Text | None = Field(None, description="a name in `:dns_configs:`, which names the domain")

    def as_written(self) -> dict[str, Any]:
        """All of the entry, also what only its provider understands."""
        return {**self.model_dump(exclude_none=True), **(self.model_extra or {})}
