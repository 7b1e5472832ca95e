"""Pydantic models with a field for each filter of dead letters, derived from the table of filters."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, Field, create_model

from vmpooler_tasks.model.deadletters.filters import (
    FILTERS,
    DeadLetterFilter,
    Filter,
    FilterKind,
    filter_of,
    refuse_everything,
)

SELECT_ALL_BY = "set every to true"
"""How a task's arguments and an API body ask for all dead letters."""

Model = TypeVar("Model", bound=BaseModel)

LISTS = (FilterKind.IDS, FilterKind.QUEUES)
"""Kinds whose value is a list: empty by default, where the others are None."""


def parameter_of(one: Filter) -> str:
    """Return the name of a filter in a query: its name on the command line, with underscores."""
    return (one.option or one.name).replace("-", "_")


def with_filters(
    types: Mapping[FilterKind, Any], *, query: bool = False, epochs: str = "in seconds since the epoch"
) -> Callable[[type[Model]], type[Model]]:
    """Return a decorator that adds a field for each filter to a model; `types` has the type of each kind.

    A `query` only reads: it has the filters that a reader may use, by their names on the command line.
    """
    chosen = [one for one in FILTERS if one.read_only or not query]
    fields: dict[str, Any] = {
        parameter_of(one) if query else one.name: (
            types[one.kind] if one.kind in LISTS else types[one.kind] | None,
            Field(
                default=() if one.kind in LISTS else None,
                description=f"{one.help}, {epochs}" if one.kind is FilterKind.EPOCH else one.help,
            ),
        )
        for one in chosen
    }

    def add(model: type[Model]) -> type[Model]:
        extended: Any = create_model(model.__name__, __base__=model, __module__=model.__module__, **fields)
        extended.__doc__ = model.__doc__
        return extended  # type: ignore[no-any-return]

    return add


def filter_of_model(model: BaseModel) -> DeadLetterFilter:
    """Return the filter of a model that `with_filters` has extended, whichever names it has.

    Raises InvalidInputError for a `match` that is not a regular expression.
    """
    names = type(model).model_fields
    named = {one.name: parameter_of(one) if parameter_of(one) in names else one.name for one in FILTERS}
    return filter_of({name: getattr(model, field) for name, field in named.items() if field in names})


def filter_of_order(model: BaseModel, *, every: bool) -> DeadLetterFilter:
    """Return the filter of a model whose dead letters are going to be deleted or run again.

    Raises InvalidInputError if it selects everything without `every`, or its `match` is not a regular expression.
    """
    wanted = filter_of_model(model)
    if not every:
        refuse_everything(wanted, override=SELECT_ALL_BY)
    return wanted
