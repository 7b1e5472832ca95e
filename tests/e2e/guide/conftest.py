"""One `make run` for all commands that the documents show."""

from collections.abc import Iterator

import pytest

from tests.support.first_minutes import FirstMinutes, newcomers_folder


@pytest.fixture(scope="package")
def first_minutes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FirstMinutes]:
    with newcomers_folder(tmp_path_factory.mktemp("clone")) as first:
        first.start()
        yield first
