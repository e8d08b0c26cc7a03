"""Asking the fake by hand: the calls a worker would make, over a real httpx client."""

import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx

from tests.lab.api.control import TOKEN_HEADER as CONTROL_HEADER
from tests.lab.api.front import TOKEN_HEADER
from tests.lab.recall import FakeRecall

API = "/api/v1/"


class Asking:
    """Calls of one client; paths are relative to /api/v1/."""

    def __init__(self, recall: FakeRecall, http: httpx.Client) -> None:
        self.recall = recall
        self.http = http

    def get(self, path: str, **options: Any) -> httpx.Response:
        """GET with the API key."""
        return self.call("GET", path, self._key(), **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        """POST with the API key."""
        return self.call("POST", path, self._key(), **options)

    def as_user(self, token: str, method: str, path: str, **options: Any) -> httpx.Response:
        """Call with a calendar token and nothing else."""
        return self.call(method, path, {TOKEN_HEADER: token}, **options)

    def token(self, external_id: str) -> str:
        """Return a calendar token as Recall hands it out."""
        answer = self.post("calendar/authenticate/", json={"user_id": external_id})
        return str(answer.json()["token"])

    def control(self, method: str, door: str, **options: Any) -> httpx.Response:
        """Knock at one of the lab's own doors."""
        headers = {CONTROL_HEADER: self.recall.control_token}
        return self.http.request(method, f"/_lab/{door}", headers=headers, **options)

    def call(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, **options: Any
    ) -> httpx.Response:
        """Call with exactly these headers."""
        return self.http.request(method, API + path, headers=headers, **options)

    def _key(self) -> dict[str, str]:
        return {"Authorization": f"Token {self.recall.api_key}"}


@contextmanager
def asking(recall: FakeRecall, *, timeout: float = 5.0) -> Iterator[Asking]:
    """Yield a client of that fake; it trusts the fake's own certificate authority."""
    verify: bool | ssl.SSLContext = False
    if recall.tls_ca is not None:
        verify = ssl.create_default_context(cafile=str(recall.tls_ca))
    with httpx.Client(base_url=recall.url, verify=verify, trust_env=False, timeout=timeout) as http:
        yield Asking(recall, http)
