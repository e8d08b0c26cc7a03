"""Scripted faults: data that says which calls go wrong, how, and how often."""

import contextlib
import random
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args

Act = Literal[
    "status",
    "html",
    "empty",
    "garbage",
    "redirect",
    "other_bot",
    "token",
    "transform",
    "slow",
    "partial",
    "hang",
    "reset",
    "close",
    "drip_headers",
    "drip_body",
    "endless",
    "gzip_bomb",
]


@dataclass(frozen=True, slots=True)
class Fault:
    """One way to go wrong, and which calls it befalls.

    Which: `path` is a template of the call log ("bot/{id}") or "*", `method` likewise, `match` is
    found in the request target or in what the call is about; the first `after` of these pass, then
    each is hit with `probability` until `times` were (None: for ever).
    How: `act`, after `delay` s. `status` any code with `headers`, and `body` (None: the one Recall
    would send); `html` and `empty` 200 unless `status`; `garbage` by `variant` nan, deep, latin1,
    surrogate, null, list or text; `redirect` to `location`; `other_bot` the true answer under
    another id; `token` a hostile token by `variant` crlf, empty, non_ascii, huge, null or number;
    `transform` the true JSON through a callable or a merge `patch`; `slow` the true answer;
    `partial` half of it, then the end; `hang` nothing, until the client goes; `reset` a TCP RST;
    `close` an orderly end without a word; `drip_…` a byte every `gap` s; `endless` without end;
    `gzip_bomb` and a huge token of `size` bytes.
    """

    act: Act = "status"
    path: str = "*"
    method: str = "*"
    match: str = ""
    times: int | None = None
    probability: float = 1.0
    after: int = 0
    delay: float = 0.0
    gap: float = 0.5
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str | None = None
    content_type: str | None = None
    variant: str = ""
    location: str = ""
    size: int | None = None
    patch: Mapping[str, Any] | None = None
    transform: Callable[[Any], object] | None = None

    def __post_init__(self) -> None:
        if self.act not in ACTS:
            raise ValueError(f"no such act: {self.act!r}; one of {', '.join(ACTS)}")

    def befalls(self, template: str, method: str, target: str, about: str) -> bool:
        """Return whether a call is one this fault is for, chances and counts aside."""
        return (
            self.path in {"*", template}
            and self.method in {"*", method}
            and (self.match in target or self.match in about)
        )


ACTS: tuple[str, ...] = get_args(Act)
_IN_PROCESS = {"transform"}


def to_json(fault: Fault) -> dict[str, Any]:
    """Return the fault as JSON, a callable as its name."""
    data = {f.name: getattr(fault, f.name) for f in fields(fault)}
    data["headers"] = dict(fault.headers)
    data["transform"] = None if fault.transform is None else repr(fault.transform)
    return data


def from_json(data: Mapping[str, Any]) -> Fault:
    """Return the fault that JSON describes; ValueError for a field it cannot have."""
    allowed = {f.name for f in fields(Fault)} - _IN_PROCESS
    if unknown := set(data) - allowed:
        raise ValueError(f"a fault has no {sorted(unknown)}")
    headers = {name: str(value) for name, value in data.get("headers", {}).items()}
    return Fault(**{**data, "headers": headers})


@dataclass(slots=True)
class _Entry:
    fault: Fault
    seen: int = 0
    fired: int = 0

    @property
    def is_spent(self) -> bool:
        return self.fault.times is not None and self.fired >= self.fault.times


class FaultBook:
    """The faults in force, asked in the order they were added; for any thread."""

    def __init__(self, seed: int = 0) -> None:
        self._lock = threading.Lock()
        self._rng = random.Random(seed)
        self._entries: dict[str, _Entry] = {}
        self._added = 0

    def add(self, fault: Fault) -> str:
        """Put a fault in force; return the name to remove or count it by."""
        with self._lock:
            self._added += 1
            name = f"fault-{self._added}"
            self._entries[name] = _Entry(fault)
            return name

    def remove(self, name: str) -> None:
        """Take a fault back; one that is gone already is fine."""
        with self._lock:
            self._entries.pop(name, None)

    def clear(self) -> None:
        """Take all faults back."""
        with self._lock:
            self._entries.clear()

    def fired(self, name: str) -> int:
        """Return how many calls that fault has hit; LookupError when it was removed."""
        with self._lock:
            return self._entries[name].fired

    @contextlib.contextmanager
    def during(self, fault: Fault) -> Iterator[str]:
        """Keep a fault in force for the length of a with block; yields its name."""
        name = self.add(fault)
        try:
            yield name
        finally:
            self.remove(name)

    def listing(self) -> list[dict[str, Any]]:
        """Return every fault as JSON with its name and how often it was seen and fired."""
        with self._lock:
            return [
                {"name": name, "seen": e.seen, "fired": e.fired, **to_json(e.fault)}
                for name, e in self._entries.items()
            ]

    def pick(self, template: str, method: str, target: str, about: str) -> Fault | None:
        """Return the first fault that hits this call, and count it; None for a true answer."""
        if not self._entries:
            return None
        with self._lock:
            for entry in self._entries.values():
                if entry.fault.befalls(template, method, target, about) and self._hits(entry):
                    return entry.fault
        return None

    def _hits(self, entry: _Entry) -> bool:
        entry.seen += 1
        if entry.is_spent or entry.seen <= entry.fault.after:
            return False
        if entry.fault.probability < 1 and self._rng.random() >= entry.fault.probability:
            return False
        entry.fired += 1
        return True
