"""Names from outside are text on a terminal, too, when `curl` prints what the API returned."""

import json

import httpx
import pytest

from tests.support.hostile_world import NAMES, is_text, texts_in, write_everywhere
from tests.support.web import READER
from tests.support.world import World
from vmpooler_tasks.model.names import DeadLetterQueue
from vmpooler_tasks.store import keys

QUEUE = "/api/v1/queue"
# Without /metrics: its format has no escape for such a character in a label.
READING = (
    "/health",
    "/openapi.json",
    f"{QUEUE}/health",
    f"{QUEUE}/overview",
    f"{QUEUE}/audit?limit=500",
    f"{QUEUE}/dlq?limit=500",
    f"{QUEUE}/dlq?limit=500&sort=vm",
    f"{QUEUE}/dlq/export",
    f"{QUEUE}/dlq/export?format=csv",
    f"{QUEUE}/dlq/id-1",
    f"{QUEUE}/dlq/stats",
    f"{QUEUE}/purge",
    f"{QUEUE}/redrives",
    f"{QUEUE}/requests",
    f"{QUEUE}/requests/no%C2%9B31m-such%E2%80%AErequest",
    f"{QUEUE}/dlq?pool=no%C2%9B31m-such%E2%80%AEpool",
    f"{QUEUE}/dlq?limit=%C2%9B31m%E2%80%AE",
    f"{QUEUE}/pools/no%C2%9B31m-such%E2%80%AEpool",
)


def test_every_response_is_text_on_a_terminal(web: httpx.Client, web_world: World) -> None:
    write_everywhere(web_world)
    for path in READING:
        response = web.get(path)
        assert response.status_code != 500, path
        assert is_text(response.text), path
        if response.headers["content-type"].endswith("json"):
            assert int(response.headers["content-length"]) == len(response.content)


def test_a_parser_reads_the_names_unchanged(web: httpx.Client, web_world: World) -> None:
    write_everywhere(web_world)
    assert set(NAMES) <= texts_in(web.get(f"{QUEUE}/dlq?limit=500").json())
    assert set(NAMES) <= texts_in(web.get(f"{QUEUE}/audit?limit=500").json())


@pytest.mark.parametrize("name", ["漢字", "é\u0301", "שלום"])
def test_text_that_a_terminal_only_shows_stays_as_it_is(web: httpx.Client, web_world: World, name: str) -> None:
    web_world.client.zadd(keys.dead_letters(DeadLetterQueue.CLONE), {json.dumps({"vm": name}): web_world.now})
    assert name in web.get(f"{QUEUE}/dlq", auth=READER).text
