"""One `make run` for all commands of a module: those of the documents, and those of the original guide."""

from collections.abc import Iterator

import pytest

from tests.support.first_minutes import FirstMinutes, newcomers_folder


@pytest.fixture(scope="module")
def first_minutes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FirstMinutes]:
    with newcomers_folder(tmp_path_factory.mktemp("clone")) as first:
        first.start()
        yield first
