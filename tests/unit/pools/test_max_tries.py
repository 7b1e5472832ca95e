"""`max_tries`: how often a call of the provider is tried."""

import json

import pytest

from vmpooler_tasks.config import load_settings
from vmpooler_tasks.errors import TransientProviderError
from vmpooler_tasks.store import Database
from vmpooler_tasks.tasks.pool_context import build_context


@pytest.mark.parametrize("max_tries", [1, 2])
def test_a_call_that_may_succeed_later_is_tried_as_often_as_configured(max_tries: int) -> None:
    settings = load_settings({"VMPOOLER_CONFIG": json.dumps({"config": {"max_tries": max_tries}})})
    context, calls = build_context(Database("redis://127.0.0.1:9"), settings), list[str]()

    def fail(vm: str) -> None:
        calls.append(vm)
        raise TransientProviderError("no host is free")

    with pytest.raises(TransientProviderError):
        context.retries(fail, "one")
    assert calls == ["one"] * max_tries
