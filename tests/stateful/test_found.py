"""Faults that the state machine has found, each as a scenario."""

from collections.abc import Callable

import pytest

from tests.stateful.holders import Holder
from tests.stateful.known import LEASE_SECONDS
from tests.stateful.site import Site
from tests.support.servers import TestServer
from vmpooler_tasks.errors import PermanentProviderError
from vmpooler_tasks.model.pools.lifecycle import Step
from vmpooler_tasks.store import Database


def hold_up(site: Site, step: Step, vm: str | None = None) -> Holder:
    """A worker takes such work (on this VM), and is held up when the provider has done it. All other work is lost."""
    found = (one for one in site.waiting if one.work.step is step and vm in {None, one.work.vm})
    message = next(found)
    site.waiting.clear()
    site.checks.clear()
    site.hold(message, after=True, alive=True)
    return site.held.pop()


AFTERTHOUGHTS: dict[str, Callable[[Site, Holder], object]] = {
    "its clone fails at last": lambda site, cloner: site.release(cloner, PermanentProviderError("permission denied")),
    "its clone's lease is reaped": lambda site, _: site.reap(),
}


@pytest.mark.parametrize("what", AFTERTHOUGHTS)
def test_who_destroys_a_vm_does_not_lose_it_to_the_end_of_its_clone(valkey: TestServer, what: str) -> None:
    db = Database(valkey.url)
    site = Site(db)
    site.inspect("amber")
    cloner = hold_up(site, Step.CLONE)
    site.order("amber", "reset")
    site.now += 5 * LEASE_SECONDS + 1
    site.inspect("amber")
    destroyer = hold_up(site, Step.DESTROY, cloner.work.vm)

    AFTERTHOUGHTS[what](site, cloner)
    site.release(destroyer)
    assert destroyer.outcome == "destroyed"
    site.settle()
    site.dead.append(cloner)
    site.close()
    db.close()
