"""Chooses the least used host of a cluster for a clone, as VMPooler's `manage_host_selection` does.

Hosts that are in maintenance, not green, or above `utilization_limit` get no clone. Those at or below the average load
get clones in turn. VMs are not migrated out of busy hosts: that is DRS's work.
"""

import itertools
import math
import threading
from collections.abc import Iterator
from time import monotonic
from typing import Any

from pyVmomi import vim

from vmpooler_tasks.errors import TransientProviderError
from vmpooler_tasks.providers.vsphere.api.properties import FoundObject, read_objects
from vmpooler_tasks.providers.vsphere.api.references import id_of
from vmpooler_tasks.providers.vsphere.api.session import VcenterSession
from vmpooler_tasks.providers.vsphere.options import CloneDefaults
from vmpooler_tasks.providers.vsphere.places import Cluster

PATHS = ("name", "overallStatus", "configIssue", "runtime", "summary.quickStats", "summary.hardware")


class HostChooser:
    """Remembers the figures of the hosts for `host_selection_max_age` seconds, and the name of each host."""

    def __init__(self, session: VcenterSession, defaults: CloneDefaults) -> None:
        self._session, self._defaults = session, defaults
        self._lock = threading.Lock()
        self._turns: dict[str, tuple[float, Iterator[Any]]] = {}
        self._names: dict[str, str] = {}

    def next_of(self, cluster: Cluster) -> Any:
        """Return the host that gets the next clone. Raise TransientProviderError if no host may get one."""
        with self._lock:  # one thread reads the figures, the others wait for them
            read_at, turns = self._turns.get(id_of(cluster.ref), (-math.inf, iter(())))
            if monotonic() - read_at > self._defaults.host_selection_max_age:
                chosen = self._least_used(cluster)
                turns = itertools.cycle(chosen)
                self._turns[id_of(cluster.ref)] = monotonic(), turns
            return next(turns)

    def name_of(self, host: Any) -> str | None:
        """Return the name of a host; None if it does not exist."""
        if host is None:
            return None
        key = id_of(host)
        if key not in self._names:
            found = read_objects(self._session, [host], vim.HostSystem, ["name"])
            if key not in found:
                return None
            self._names[key] = found[key].require("name")
        return self._names[key]

    def _least_used(self, cluster: Cluster) -> list[Any]:
        found = read_objects(self._session, cluster.hosts, vim.HostSystem, PATHS)
        loads = {each.ref: load for each in found.values() if (load := self._load(each)) is not None}
        if not loads:
            raise TransientProviderError(
                "no host of the cluster can take a VM: each is in maintenance, not green, or above "
                f"{self._defaults.utilization_limit:g} % of its CPU or memory"
            )
        return least_used(loads)

    def _load(self, host: FoundObject) -> float | None:
        """Return the load of the CPU in percent; None if the host gets no clones."""
        runtime, stats, hardware = (host.get(path) for path in ("runtime", "summary.quickStats", "summary.hardware"))
        if runtime is None or stats is None or hardware is None:
            return None
        if runtime.inMaintenanceMode or host.get("overallStatus") != "green" or host.get("configIssue"):
            return None
        cpu = 100 * (stats.overallCpuUsage or 0) / max(1, hardware.cpuMhz * hardware.numCpuCores)
        memory = 100 * (stats.overallMemoryUsage or 0) / max(1, hardware.memorySize // 2**20)
        return cpu if max(cpu, memory) <= self._defaults.utilization_limit else None


def least_used(loads: dict[Any, float]) -> list[Any]:
    """Return the hosts at or below the average load, the least used one first."""
    average = sum(loads.values()) / len(loads)
    return sorted((host for host, load in loads.items() if load <= average + 1e-9), key=lambda host: loads[host])
