"""Requests in lists: what each waits for, its filters, its pages, and its cancellation."""

import pytest

from tests.support.pool_world import PoolWorld, pool
from tests.support.world import NOW, POOL
from vmpooler_tasks.jobs.requests import fulfil
from vmpooler_tasks.jobs.requests.cancel import cancel
from vmpooler_tasks.jobs.requests.listing import RequestFilter, RequestPage, read_page, read_row
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.store import Database, keys
from vmpooler_tasks.store.fleet import audit
from vmpooler_tasks.store.requests import listing

OTHER = "debian-12"


@pytest.fixture
def world(db: Database) -> PoolWorld:
    return PoolWorld(db, pools=[pool(size=0, alias=("centos",)), pool(OTHER, size=0)])


def submit(world: PoolWorld, request: str, requested: str, **fields: str) -> None:
    """As the API server does."""
    world.client.hset(f"vmpooler__odrequest__{request}", mapping={"requested": requested, **fields})
    world.client.zadd("vmpooler__provisioning__request", {request: int(world.now)})


def page(world: PoolWorld, limit: int = 50, cursor: listing.Place | None = None, **conditions: object) -> RequestPage:
    wanted = RequestFilter(**conditions)  # type: ignore[arg-type]
    return read_page(world.db, world.settings, wanted, limit=limit, before=cursor, now=world.now)


def ids(found: RequestPage) -> list[str]:
    return [row.id for row in found.rows]


def waits_for(world: PoolWorld, request: str) -> list[str]:
    row = read_row(world.db, world.settings, request, world.now)
    return list(row.waits_for) if row else []


def test_each_request_says_what_it_waits_for(world: PoolWorld) -> None:
    world.config["ondemand_clone_limit"] = 2
    submit(world, "one", f"centos:{POOL}:3", **{"token:token": "secret-token", "token:user": "rita"})
    assert waits_for(world, "one") == ["a worker has to accept it"]
    world.config["manage_pools"] = False
    assert waits_for(world, "one") == ["VMPooler's manager has to accept it"]
    world.config["manage_pools"] = True
    work = fulfil.run(world.context)
    limit = "2 clones for requests run already (ondemand_clone_limit)"
    assert waits_for(world, "one") == [f"2 of 3 VMs of {POOL}: cloning", f"1 of 3 VMs of {POOL}: {limit}"]
    world.client.hset(keys.breaker("scripted"), "open_until", world.now + 60)
    assert waits_for(world, "one")[1] == f"1 of 3 VMs of {POOL}: provider scripted is suspended"
    world.client.delete(keys.breaker("scripted"))
    world.deliver_all(work)
    assert waits_for(world, "one")[-1] == f"1 of 3 VMs of {POOL}: clones start within seconds"
    [row] = page(world).rows
    assert (row.status, row.user, row.since) == ("filling", "rita", NOW)
    assert "secret" not in str(row.as_json())


def test_a_list_reads_the_breakers_of_the_pools_that_its_requests_wait_for(world: PoolWorld) -> None:
    world.pools += [pool(f"pool-{number}", size=0) for number in range(50)]
    world.config["ondemand_clone_limit"] = 0
    submit(world, "one", f"centos:{POOL}:3")
    fulfil.run(world.context)
    for name in (POOL, "pool-7"):
        world.client.hset(keys.pool_breaker(name), mapping={"transient": 9, "open_until": world.now + 60})
    before = reads_of_breakers(world)
    assert waits_for(world, "one") == [f"3 of 3 VMs of {POOL}: pool {POOL} is suspended"]
    assert reads_of_breakers(world) - before < 10, "the request, its provider and its pool, not the 50 others"


def reads_of_breakers(world: PoolWorld) -> int:
    return int(world.client.info("commandstats").get("cmdstat_hmget", {}).get("calls", 0))


def test_the_filters_of_a_list_can_be_combined(world: PoolWorld) -> None:
    submit(world, "aaa", f"centos:{POOL}:1", **{"token:user": "rita"})
    submit(world, "bbb", f"{OTHER}:{OTHER}:1", **{"token:user": "otto"})
    submit(world, "ccc", f"nothing:{OTHER}x:1")
    fulfil.run(world.context)
    submit(world, "ddd", f"{OTHER}:{OTHER}:1", **{"token:user": "rita"})
    assert ids(page(world)) == ["ddd", "bbb", "aaa"], "the failed one was never accepted: no list has it"
    assert ids(page(world, search="ccc")) == ["ccc"], "its whole id finds it"
    assert ids(page(world, search="RITA")) == ["ddd", "aaa"]
    assert ids(page(world, user="rita", pool=OTHER)) == ["ddd"]
    assert ids(page(world, pool="centos")) == ["aaa"]
    assert ids(page(world, statuses=("waiting",))) == ["ddd"]
    assert ids(page(world, statuses=("filling",))) == ["bbb", "aaa"]
    world.now += 400
    fulfil.run(world.context)
    assert ids(page(world, statuses=("failed",), search=POOL)) == ["aaa"]
    assert page(world, statuses=("failed",)).rows[0].reason == "not filled within 5 minutes"


def test_pages_join_without_gap_or_repetition(world: PoolWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "REQUESTS_PAGE", 3)
    for number in range(11):
        submit(world, f"r{number:02}", f"centos:{POOL}:1")
        world.now += number % 3 == 0
        if number == 6:
            fulfil.run(world.context)
    met, cursor = [], None
    while True:
        found = page(world, limit=2, cursor=cursor)
        met += ids(found)
        cursor = found.next_place
        if cursor is None:
            break
    assert sorted(met) == [f"r{number:02}" for number in range(11)]
    world.client.delete("vmpooler__provisioning__processing")
    world.client.set("vmpooler__provisioning__processing", "no sorted set")
    assert page(world).unreadable == ["vmpooler__provisioning__processing"]


def test_a_cancelled_request_gets_no_more_vms_and_gives_up_its_own(world: PoolWorld) -> None:
    world.config["ondemand_clone_limit"] = 2
    submit(world, "one", f"centos:{POOL}:3")
    [first, second] = fulfil.run(world.context)
    world.deliver(first)
    world.provider.has(first.vm)
    world.deliver_all(work for work in world.inspect().work if work.vm == first.vm)
    assert world.names_in(Queue.RUNNING) == {first.vm}
    result = cancel(world.db, world.settings, "one", who="olga@web", why="not needed")
    assert (result.is_cancelled, result.completed) == (True, (first.vm,))
    assert world.names_in(Queue.COMPLETED) == {first.vm}
    for key in ("vmpooler__provisioning__processing", "vmpooler__odcreate__task"):
        assert world.client.zcard(key) == 0
    fields = world.client.hmget("vmpooler__odrequest__one", "status", "failure_reason")
    assert fields == [b"deleted", b"cancelled by olga@web: not needed"]
    [entry] = audit.read_newest(world.db, 5)
    kept = {name: entry.fields[name] for name in ("action", "who", "why", "request", "count")}
    assert kept == {
        "action": "cancel_request",
        "who": "olga@web",
        "why": "not needed",
        "request": "one",
        "count": "1",
    }
    outcome = world.deliver(second)
    world.deliver_all(work for work in world.inspect().work if work.vm == second.vm)
    assert (outcome, world.queues_of(second.vm)) == ("request_closed", []), "its clone does not start"
    assert cancel(world.db, world.settings, "one", who="olga@web", why=None).status_before == "deleted"
    assert cancel(world.db, world.settings, "two", who="olga@web", why=None).status_before == "gone"
    assert len(audit.read_newest(world.db, 5)) == 1


def test_a_request_that_is_ready_stays(world: PoolWorld) -> None:
    submit(world, "one", f"centos:{POOL}:1", status="ready")
    before = world.snapshot()
    assert cancel(world.db, world.settings, "one", who="olga@web", why=None).status_before == "ready"
    assert world.snapshot() == before
