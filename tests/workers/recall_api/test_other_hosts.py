"""Calls to hosts that are not Recall's: what they did is told, and never their address."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.sender.receiver import Receiver
from tests.lab.stack.servers import free_port
from tests.support import hooks
from tests.support.hooks import HookHost
from workers.recall_api.other_hosts import deliver
from workers.recall_api.transport import HttpClient, make_ssl_context


@pytest.fixture
def http() -> Iterator[HttpClient]:
    """A client that trusts the public authorities alone."""
    http = HttpClient(make_ssl_context())
    yield http
    http.close()


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_success_is_an_arrival(http: HttpClient, status: int) -> None:
    """The body is sent as JSON, with nothing that is Recall's."""
    with HookHost(hooks.failing(status)) as host:
        assert deliver(http, "POST", host.hook, {"text": "hi"}) is None
        (request,) = host.requests
    assert request.json() == {"text": "hi"}
    assert request.headers["content-type"] == "application/json"
    assert "authorization" not in request.headers


@pytest.mark.parametrize("status", [300, 307, 400, 410, 429, 503])
def test_any_other_answer_is_told_by_its_status(http: HttpClient, status: int) -> None:
    """A redirect is not followed: its target was not named by the setting."""
    with HookHost(hooks.failing(status, ("Location", "/other"))) as host:
        assert deliver(http, "GET", host.ping) == f"answered {status}"
        assert len(host.requests) == 1


def test_a_certificate_that_nobody_vouches_for_is_refused(http: HttpClient, tmp_path: Path) -> None:
    """And its authority's, once that is trusted, is not."""
    with Receiver(tls_ca=tmp_path / "ca.pem") as host:
        words = deliver(http, "POST", f"{host.url}/hunter2", {})
        assert words == "has a certificate that is not trusted"
        assert host.requests == []
        trusting = HttpClient(make_ssl_context(str(tmp_path / "ca.pem")))
        assert deliver(trusting, "POST", f"{host.url}/hunter2", {}) is None
        trusting.close()


@pytest.mark.parametrize("url", ["http://127.0.0.1:{port}/hunter2", "http://hunter2.invalid/"])
def test_a_host_that_is_not_there_is_told_without_its_address(http: HttpClient, url: str) -> None:
    """Neither is a name that does not resolve."""
    assert deliver(http, "GET", url.format(port=free_port())) == "could not be reached"
