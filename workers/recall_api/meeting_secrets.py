"""Removes meeting passwords from Recall's objects, from URLs and from texts."""

import re

# Parts of a key, in any spelling: meeting_password, business_meeting_password, hostPwd, …
_PARTS = (
    "password",
    "passwd",
    "passcode",
    "passphrase",
    "passkey",
    "pwd",
    "pincode",
    "accesscode",
    "hostkey",
    "token",
    "secret",
    "credential",
)
# Too short to be searched within other words.
_WHOLE = frozenset({"tk", "pw", "pin", "pass"})
_NO_WORD = re.compile(r"[\W_]+")
# A parameter of a URL, after ?, & or #; Teams calls its passcode `p`.
_PARAMETER = re.compile(r"(?<=[?&#;])([\w.\-%]+)=[^\s&#;\"'<>]*")
_PAIR = re.compile(
    r"""(["'])([\w.\- ]{1,64})\1\s*:\s*(?:"(?:[^"\\]|\\.)*"?|'(?:[^'\\]|\\.)*'?|[^\s,}\]]+)"""
)


def is_secret(key: str) -> bool:
    """Whether the value under this key is a meeting password."""
    plain = _NO_WORD.sub("", key).lower()
    return plain in _WHOLE or any(part in plain for part in _PARTS)


def without_secrets(text: str) -> str:
    """Return a text with the passwords in URLs and in quoted JSON replaced."""
    # Checked first, since most texts have neither.
    if "=" in text:
        text = _PARAMETER.sub(_without_parameter, text)
    if ":" in text:
        text = _PAIR.sub(_without_value, text)
    return text


def _without_parameter(found: re.Match[str]) -> str:
    name = found[1]
    return f"{name}=…" if is_secret(name) or name.lower() == "p" else found[0]


def _without_value(found: re.Match[str]) -> str:
    quote, key = found[1], found[2]
    return f"{quote}{key}{quote}: …" if is_secret(key) else found[0]
