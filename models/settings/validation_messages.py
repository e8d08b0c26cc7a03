"""Messages for pydantic's validation errors, for readers who do not know pydantic."""

from typing import Any

_MESSAGES = {
    "bool_parsing": "must be 1 or 0 (or yes or no, on or off, true or false)",
    "bool_type": "must be true or false",
    "extra_forbidden": "is an unknown parameter",
    "finite_number": "must be a number",
    "float_parsing": "must be a number",
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a whole number",
    "int_type": "must be a whole number",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "list_type": "must be a list",
    "literal_error": "must be {expected}",
    "missing": "is missing",
    "string_pattern_mismatch": "must have the form {pattern}",
    "string_too_long": "must have at most {max_length} characters",
    "string_too_short": "must have at least {min_length} characters",
    "string_type": "must be a string",
    "too_long": "must have at most {max_length} items",
    "tuple_type": "must be a list",
}


def validation_message(error: Any) -> str:
    """Return the message for one pydantic error; it never contains the value."""
    template = _MESSAGES.get(error["type"])
    text: str = template.format(**error.get("ctx", {})) if template else error["msg"]
    return text.removeprefix("Value error, ")
