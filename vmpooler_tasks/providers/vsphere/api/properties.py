"""Reads properties of many objects in one call, page by page."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pyVmomi import vim, vmodl

from vmpooler_tasks.providers.vsphere.api.faults import SessionEndedError, error_of
from vmpooler_tasks.providers.vsphere.api.references import id_of
from vmpooler_tasks.providers.vsphere.api.session import VcenterSession

PAGE_OBJECTS = 1000
"""Maximum of objects in one reply. A vCenter may choose less."""

Spec = vmodl.query.PropertyCollector


@dataclass(frozen=True, slots=True)
class FoundObject:
    """An object with those of its properties that it has. `missing` has the faults of those that cannot be read."""

    ref: Any
    properties: Mapping[str, Any]
    missing: Mapping[str, Any] = field(default_factory=dict)

    def get(self, path: str) -> Any:
        return self.properties.get(path)

    def require(self, path: str) -> Any:
        """Return a property that every such object has. Raise the vCenter's reason if it cannot be read."""
        if path in self.missing:
            raise error_of(self.missing[path])
        return self.properties[path]


def read_objects(
    session: VcenterSession, refs: Sequence[Any], kind: type[Any], paths: Sequence[str]
) -> dict[str, FoundObject]:
    """Return the objects by their ids. One that does not exist any more is left out."""
    objects = [Spec.ObjectSpec(obj=ref) for ref in refs]
    found = _collect(session, _filter(objects, kind, paths))
    return {id_of(each.ref): each for each in found}


def read_vms_in(session: VcenterSession, folder: Any, paths: Sequence[str]) -> list[FoundObject]:
    """Return the VMs in a folder, without those in folders below it."""
    children = Spec.TraversalSpec(name="children", type=vim.Folder, path="childEntity", skip=False)
    start = Spec.ObjectSpec(obj=folder, skip=True, selectSet=[children])
    return _collect(session, _filter([start], vim.VirtualMachine, paths))


def read_below(session: VcenterSession, start: Any, kind: type[Any], paths: Sequence[str]) -> list[FoundObject]:
    """Return all objects of this kind in a folder and the folders and datacenters below it."""
    again = [Spec.SelectionSpec(name=name) for name in ("folders", "vm folder")]
    folders = Spec.TraversalSpec(name="folders", type=vim.Folder, path="childEntity", skip=False, selectSet=again)
    vms = Spec.TraversalSpec(name="vm folder", type=vim.Datacenter, path="vmFolder", skip=False, selectSet=again[:1])
    return _collect(session, _filter([Spec.ObjectSpec(obj=start, skip=True, selectSet=[folders, vms])], kind, paths))


def _filter(objects: list[Any], kind: type[Any], paths: Sequence[str]) -> Any:
    wanted = Spec.PropertySpec(type=kind, pathSet=list(paths), all=False)
    return Spec.FilterSpec(objectSet=objects, propSet=[wanted], reportMissingObjectsInResults=True)


def _collect(session: VcenterSession, chosen: Any) -> list[FoundObject]:
    """Return all objects of all pages. A session that ends halfway starts the pages again, once."""
    try:
        return list(_pages(session, chosen))
    except SessionEndedError:
        return list(_pages(session, chosen))


def _pages(session: VcenterSession, chosen: Any) -> Iterable[FoundObject]:
    content = session.content
    collector = content.propertyCollector
    options = Spec.RetrieveOptions(maxObjects=PAGE_OBJECTS)
    page = session.call(collector, "RetrievePropertiesEx", [chosen], options)
    while page is not None:
        for each in page.objects:
            if any(isinstance(part.fault, vim.fault.NotAuthenticated) for part in each.missingSet):
                session.forget(content)
                raise SessionEndedError("the session ended before all properties were read")
            properties = {part.name: part.val for part in each.propSet}
            yield FoundObject(each.obj, properties, {part.path: part.fault for part in each.missingSet})
        if not page.token:
            return
        page = session.call(collector, "ContinueRetrievePropertiesEx", page.token, renew=False)
