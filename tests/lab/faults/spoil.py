"""Faults that put another answer in place of the true one."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from tests.lab.api.answers import FIREWALL_PAGE, json_answer, not_found, unauthenticated
from tests.lab.faults.faults import Fault
from tests.lab.http.line import Line
from tests.lab.http.wire import Request, Response

ELSEWHERE = "http://elsewhere.example"
STRANGER = "0e0e0e0e-1b1b-4c4c-8d8d-f0f0f0f0f0f0"
HUGE_TOKEN = 100 * 1024
PAGE = b"<!doctype html><title>Be right back</title><p>Somebody tripped over a cable."

GARBAGE: dict[str, bytes] = {
    "nan": b'{"id": NaN, "calendar_meetings": []}',
    "deep": b"[" * 200_000,
    "latin1": '{"bot_name": "Zo\u00eb"}'.encode("latin-1"),
    "surrogate": b'{"bot_name": "\\ud800 \\u0000"}',
    "null": b"null",
    "list": b"[]",
    "text": b"this is no JSON",
}
TOKENS: dict[str, object] = {
    "crlf": "aaa.bbb\r\nX-Smuggled: 1",
    "empty": "",
    "non_ascii": "t\u00f6ken",
    "null": None,
    "number": 7,
}


@dataclass(slots=True)
class Scene:
    """A call that goes wrong: `truth` gives the answer it would have had.

    `status` is that of the whole answer given, 0 until there is one.
    """

    fault: Fault
    line: Line
    request: Request
    truth: Callable[[], Response]
    status: int = 0


def merge(target: object, patch: object) -> object:
    """Return `target` changed by a JSON merge patch (RFC 7396): null removes a key."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge(merged.get(name), value)
    return merged


def _usual(status: int) -> Response:
    """Return the answer Recall gives with that status."""
    usual = {
        401: unauthenticated("authentication_failed", "The key or token is not accepted."),
        403: Response(403, FIREWALL_PAGE, "text/html"),
        404: not_found(),
    }
    return usual.get(status) or json_answer(
        {"detail": f"The lab was told to say {status}."}, status
    )


def _status(scene: Scene) -> Response:
    fault = scene.fault
    response = _usual(fault.status or 503)
    if fault.body is not None:
        response.body, response.content_type = fault.body.encode(), "application/json"
    response.content_type = fault.content_type or response.content_type
    response.headers = list(fault.headers.items())
    return response


def _html(scene: Scene) -> Response:
    return Response(scene.fault.status or 200, PAGE, "text/html")


def _empty(scene: Scene) -> Response:
    return Response(scene.fault.status or 200)


def _garbage(scene: Scene) -> Response:
    return Response(scene.fault.status or 200, GARBAGE[scene.fault.variant or "text"])


def _redirect(scene: Scene) -> Response:
    location = scene.fault.location or ELSEWHERE + scene.request.target
    return Response(scene.fault.status or 302, headers=[("Location", location)])


def _other_bot(scene: Scene) -> Response:
    return _changed(scene, lambda body: merge(body, {"id": scene.fault.variant or STRANGER}))


def _token(scene: Scene) -> Response:
    kind = scene.fault.variant or "empty"
    huge = "t" * (scene.fault.size or HUGE_TOKEN)
    return json_answer({"token": huge if kind == "huge" else TOKENS[kind]})


def _transform(scene: Scene) -> Response:
    fault = scene.fault
    return _changed(scene, fault.transform or (lambda body: merge(body, fault.patch or {})))


def _changed(scene: Scene, change: Callable[[Any], object]) -> Response:
    true = scene.truth()
    return replace(true, body=json.dumps(change(json.loads(true.body))).encode())


def _truth(scene: Scene) -> Response:
    return scene.truth()


SPOILT: dict[str, Callable[[Scene], Response]] = {
    "status": _status,
    "html": _html,
    "empty": _empty,
    "garbage": _garbage,
    "redirect": _redirect,
    "other_bot": _other_bot,
    "token": _token,
    "transform": _transform,
    "slow": _truth,
}
