"""The API's description (OpenAPI 3.1), generated from the types that the routes use."""

import re
from typing import Any

from pydantic import BaseModel, TypeAdapter

from models.core.sanitize import LONGEST_TEXT
from models.queries.events.endpoints import EndpointRow
from models.queries.events.event_detail import EventDetail
from models.queries.failures.relink_batches import RelinkBatchResult, RelinkBatchRow
from models.queries.metadata_filter import FIELD, PREFIX
from models.queries.registry import LISTS
from models.queries.rows import Explained
from webhook.api.openapi_answers import Problem, RelinkOneRequest, ResentOne, Status
from webhook.api.openapi_webhooks import webhooks
from webhook.services.events import ResendPreview, ResendRequest, Resent
from webhook.services.people import PersonQuery
from webhook.services.relink import Preview, Relinked, RelinkRequest
from webhook.web.params import Format, query_model
from workers.privacy.person import HeldRow

REFS = "#/components/schemas/{model}"
Json = dict[str, Any]
# What any route that needs a token may answer.
_ALWAYS = (401, 429, 503)
_UNCHANGED = {"description": "The list is still as its ETag in If-None-Match says"}


def document(server: str = "/") -> Json:
    """Return the OpenAPI document of the API at this server; "/" is where the document is."""
    schemas: Json = {}
    return {
        "openapi": "3.1.0",
        "info": {"title": "recall-links", "version": "1", "description": __doc__},
        "servers": [{"url": server}],
        "paths": _of_lists(schemas) | _of_bots(schemas) | _of_events(schemas),
        "webhooks": webhooks(),
        "components": {
            "schemas": schemas,
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"bearer": []}],
    }


def _of_lists(schemas: Json) -> Json:
    lists: list[tuple[str, type[BaseModel], type, str]] = [
        ("people", PersonQuery, HeldRow, "How much is stored about a person, by table"),
        ("failures/batches", Format, RelinkBatchRow, "The latest bulk retries"),
        ("endpoints", Format, EndpointRow, "Endpoints of events"),
    ]
    lists += [(kind.name, query_model(kind.wanted), kind.row, kind.summary) for kind in LISTS]
    return {f"/api/{one[0]}": {"get": _list(*one, schemas)} for one in lists}


def _of_bots(schemas: Json) -> Json:
    bot_id = _path_parameter("bot_id", "the bot's id, a UUID")
    number = _path_parameter("number", "the batch's number", kind="string")
    many = _change(
        "Retry linking the bots that match a filter; `preview` only lists them",
        schemas,
        {"200": Preview, "202": Relinked},
        body=RelinkRequest,
    )
    one = _change("Retry linking one bot", schemas, {"202": RelinkOneRequest}, bot_id)
    batch = _read("What came of one bulk retry", RelinkBatchResult, schemas, number)
    return {
        "/api/bots/{bot_id}": {"get": _read("One bot, explained", Explained, schemas, bot_id)},
        "/api/bots/{bot_id}/relink": {"post": one},
        "/api/relink": {"post": many},
        "/api/failures/batches/{number}": {"get": batch},
        "/api/status": {"get": _read("How the service stands", Status, schemas)},
        "/api/openapi.json": {"get": _description()},
    }


def _of_events(schemas: Json) -> Json:
    event_id = _path_parameter("event_id", "the event's id", kind="string")
    endpoint = _path_parameter("name", "the endpoint's name", kind="string")
    event = _read("One event with its attempts", EventDetail, schemas, event_id)
    one = _change("Send one event again", schemas, {"202": ResentOne}, event_id, name="resend_one")
    many = _change(
        "Send the events of a filter again; with `preview` say which they are",
        schemas,
        {"200": ResendPreview, "202": Resent},
        body=ResendRequest,
        name="resend_many",
    )
    turns = {
        "on": "Send events to an endpoint again, what was kept meanwhile first",
        "off": "Send an endpoint nothing until it is turned on; its events are kept",
    }
    return {
        "/api/events/{event_id}": {"get": event},
        "/api/events/{event_id}/resend": {"post": one},
        "/api/events/resend": {"post": many},
        **{
            f"/api/endpoints/{{name}}/{word}": {
                "post": _change(
                    words, schemas, {"200": EndpointRow}, endpoint, name=f"endpoint_{word}"
                )
            }
            for word, words in turns.items()
        },
    }


def _list(name: str, asked: type[BaseModel], row: type, summary: str, schemas: Json) -> Json:
    return {
        "operationId": f"list_{name}".replace("-", "_").replace("/", "_"),
        "summary": summary,
        "parameters": _query_parameters(asked, schemas),
        "responses": _pages(row, schemas),
    }


def _pages(kind: type, schemas: Json) -> Json:
    row = _reference(kind, schemas)
    page = {
        "type": "object",
        "required": ["items", "next"],
        "properties": {
            "items": {"type": "array", "items": row},
            "next": {"type": ["string", "null"], "description": "the next page's cursor"},
        },
    }
    content = {"application/json": {"schema": page}, "text/csv": {"schema": {"type": "string"}}}
    answer = {"description": "A page of the list; CSV has the whole list", "content": content}
    return {"200": answer, "304": _UNCHANGED, **_problems(schemas, 400, *_ALWAYS)}


def _read(summary: str, answer: type, schemas: Json, *parameters: Json) -> Json:
    ok = _answer(summary, _reference(answer, schemas))
    codes = (400, 404, *_ALWAYS) if parameters else _ALWAYS
    return {
        "operationId": summary.lower().replace(" ", "_").replace(",", ""),
        "summary": summary,
        "parameters": list(parameters),
        "responses": {"200": ok, "304": _UNCHANGED, **_problems(schemas, *codes)},
    }


def _description() -> Json:
    return {
        "operationId": "description",
        "summary": "This description, which needs no token",
        "security": [],
        "responses": {"200": _answer("An OpenAPI document", {"type": "object"})},
    }


def _change(
    summary: str,
    schemas: Json,
    answers: dict[str, type],
    *parameters: Json,
    body: type[BaseModel] | None = None,
    name: str | None = None,
) -> Json:
    content = {code: _answer(summary, _reference(kind, schemas)) for code, kind in answers.items()}
    operation: Json = {
        "operationId": name or ("relink_many" if body else "relink_one"),
        "summary": summary,
        "parameters": list(parameters),
        "responses": {**content, **_problems(schemas, 400, 403, 404, *_ALWAYS)},
    }
    if body is not None:
        schema = {"application/json": {"schema": _reference(body, schemas)}}
        operation["requestBody"] = {"required": True, "content": schema}
    return operation


def _reference(kind: type, schemas: Json) -> Json:
    made = TypeAdapter(kind).json_schema(ref_template=REFS, mode="serialization")
    schemas.update(made.pop("$defs", {}))
    schemas[kind.__name__] = made
    return {"$ref": REFS.format(model=kind.__name__)}


def _query_parameters(model: type[BaseModel], schemas: Json) -> list[Json]:
    made = model.model_json_schema(ref_template=REFS)
    schemas.update(made.pop("$defs", {}))
    required = made.get("required", [])
    properties: Json = made["properties"]
    return [_parameter(name, one, required=name in required) for name, one in properties.items()]


def _parameter(name: str, schema: Json, *, required: bool) -> Json:
    if name == FIELD:
        return _metadata_parameter(schema["description"])
    schema = {key: value for key, value in schema.items() if key not in ("title", "default")}
    # In a query string, null means leaving the parameter out.
    choices = [one for one in schema.pop("anyOf", []) if one != {"type": "null"}]
    schema |= choices[0] if len(choices) == 1 else {"anyOf": choices} if choices else {}
    words = schema.pop("description", "")
    where = {"in": "query", "required": required}
    return {"name": name, **where, "description": words, "schema": schema}


def _metadata_parameter(words: str) -> Json:
    # An object in this style is a parameter for each of its keys, by the key's own name.
    text = {"type": "string", "maxLength": LONGEST_TEXT}
    keys = {f"^{re.escape(PREFIX)}.{{1,{LONGEST_TEXT}}}$": text}
    schema = {"type": "object", "patternProperties": keys, "additionalProperties": False}
    how = {"in": "query", "required": False, "style": "form", "explode": True}
    return {"name": FIELD, **how, "description": words, "schema": schema}


def _path_parameter(name: str, words: str, kind: str = "uuid") -> Json:
    schema = {"type": "string"} if kind == "string" else {"type": "string", "format": kind}
    return {"name": name, "in": "path", "required": True, "description": words, "schema": schema}


def _answer(words: str, schema: Json, kind: str = "application/json") -> Json:
    return {"description": words, "content": {kind: {"schema": schema}}}


def _problems(schemas: Json, *codes: int) -> Json:
    schema = _reference(Problem, schemas)
    words = {
        400: "A parameter is invalid; `parameter` names it",
        401: "The token is missing or invalid",
        403: "The token is read-only",
        404: "Unknown bot: no webhook received",
        429: "Too many wrong tokens from this address; Retry-After says when to try again",
        503: "No tokens are configured, or the database does not answer",
    }
    return {str(code): _answer(words[code], schema, "application/problem+json") for code in codes}
