"""Validates values by a model, also for the command line: an error names the parameter."""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from models.core.sanitize import storable
from models.queries.metadata_filter import FIELD, PREFIX
from models.settings.validation_messages import validation_message

M = TypeVar("M", bound=BaseModel)
SHOWN_OF_A_KEY = 100


class BadParameterError(Exception):
    """An invalid parameter, named by `parameter`."""

    def __init__(self, parameter: str, detail: str) -> None:
        super().__init__(f"{parameter}: {detail}")
        self.parameter = parameter
        self.detail = detail


def checked(model: type[M], given: Mapping[str, Any]) -> M:
    """Validate values; BadParameterError for the first invalid one."""
    try:
        return model.model_validate(given)
    except ValidationError as error:
        # One error at a time is enough to act on; the others show once this one is fixed.
        first = error.errors()[0]
        raise BadParameterError(_name(first["loc"]), validation_message(first)) from None


def _name(place: tuple[int | str, ...]) -> str:
    if not place:
        return "body"
    # A key is anybody's to choose: what is shown of it is short, and can be shown anywhere.
    is_of_a_key = place[0] == FIELD and len(place) > 1
    return PREFIX + storable(str(place[1]), SHOWN_OF_A_KEY) if is_of_a_key else str(place[0])


def batch_number(text: str) -> int:
    """Return the number of a batch; BadParameterError for anything else."""
    # As many digits as a number in the database may have.
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise BadParameterError("number", "must be the number of a batch")
    return int(text)
