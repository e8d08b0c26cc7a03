"""What is wrong with a value, in plain words: the library's own are about parsing and inputs."""

from typing import Any

_WORDS = {
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
    """Return what is wrong by one of pydantic's errors, without any of the value."""
    words = _WORDS.get(error["type"])
    text: str = words.format(**error.get("ctx", {})) if words else error["msg"]
    return text.removeprefix("Value error, ")
