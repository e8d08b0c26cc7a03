"""What opens a meeting is not kept: passwords in Recall's objects, and in addresses and words."""

import re

# As parts of a key, however it is spelt: meeting_password, business_meeting_password, hostPwd, …
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
# Too short to be looked for within another word.
_WHOLE = frozenset({"tk", "pw", "pin", "pass"})
_NO_WORD = re.compile(r"[\W_]+")
# A parameter of an address, after ?, & or #; Teams calls its passcode `p`.
_PARAMETER = re.compile(r"(?<=[?&#;])([\w.\-%]+)=[^\s&#;\"'<>]*")
_PAIR = re.compile(
    r"""(["'])([\w.\- ]{1,64})\1\s*:\s*(?:"(?:[^"\\]|\\.)*"?|'(?:[^'\\]|\\.)*'?|[^\s,}\]]+)"""
)


def is_secret(key: str) -> bool:
    """Whether a key of an object says that its value opens a meeting."""
    plain = _NO_WORD.sub("", key).lower()
    return plain in _WHOLE or any(part in plain for part in _PARTS)


def without_secrets(text: str) -> str:
    """Return a text with the passwords of addresses and of quoted JSON in it replaced."""
    # Most texts have neither, and are many.
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
