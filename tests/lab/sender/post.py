"""Posting over a real socket: a keep-alive HTTP/1.1 client small enough to be cheap."""

import asyncio
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

AGENT = "Svix-Webhooks/lab"
UNANSWERED = (OSError, EOFError, ValueError, asyncio.LimitOverrunError)


@dataclass(frozen=True, slots=True)
class Reply:
    """What the receiver said: status 0 and `error` when it said nothing; `ms` from first byte."""

    status: int
    body: bytes
    headers: Mapping[str, str]
    ms: float
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """Where to post; `context` only for https."""

    host: str
    port: int
    path: str
    context: ssl.SSLContext | None = None

    @classmethod
    def of(cls, url: str, ca_file: Path | None = None) -> Self:
        """Return the target of an http or https URL; ValueError for any other."""
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError(f"cannot post to {url!r}")
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        if parts.scheme == "http":
            return cls(parts.hostname, parts.port or 80, path)
        context = ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
        return cls(parts.hostname, parts.port or 443, path, context)

    def head(self, headers: Mapping[str, str], length: int) -> bytes:
        """Return the request head of a JSON POST with these headers."""
        lines = [
            f"POST {self.path} HTTP/1.1",
            f"Host: {self.host}:{self.port}",
            f"User-Agent: {AGENT}",
            "Content-Type: application/json",
            f"Content-Length: {length}",
            *(f"{name}: {value}" for name, value in headers.items()),
        ]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


class Poster:
    """One keep-alive connection, opened when first needed and again after it broke."""

    def __init__(self, target: Target, timeout: float) -> None:
        self._target = target
        self._timeout = timeout
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, body: bytes, headers: Mapping[str, str]) -> Reply:
        """Return the receiver's reply; nothing is raised for a network that fails."""
        started = time.perf_counter()
        try:
            async with asyncio.timeout(self._timeout):
                status, fields, answer = await self._exchange(body, headers)
        except UNANSWERED as error:
            await self.close()
            return Reply(0, b"", {}, _since(started), f"{type(error).__name__}: {error}")
        return Reply(status, answer, fields, _since(started))

    async def close(self) -> None:
        """Close the connection, if there is one."""
        if self._streams is not None:
            writer = self._streams[1]
            self._streams = None
            # An abort, since a receiver in the midst of a fault may never say goodbye.
            writer.transport.abort()
            await asyncio.sleep(0)

    async def _exchange(
        self, body: bytes, headers: Mapping[str, str]
    ) -> tuple[int, dict[str, str], bytes]:
        if self._streams is None or self._streams[0].at_eof():
            await self.close()
            self._streams = await asyncio.open_connection(
                self._target.host, self._target.port, ssl=self._target.context
            )
        reader, writer = self._streams
        writer.write(self._target.head(headers, len(body)) + body)
        await writer.drain()
        status, fields = _parse_head(await reader.readuntil(b"\r\n\r\n"))
        answer = await _read_body(reader, fields, status)
        if fields.get("connection", "").lower() == "close":
            await self.close()
        return status, fields, answer


def _parse_head(head: bytes) -> tuple[int, dict[str, str]]:
    first, *lines = head.decode("latin-1").rstrip().split("\r\n")
    pairs = (line.partition(":") for line in lines)
    return int(first.split(" ", 2)[1]), {name.lower(): value.strip() for name, _, value in pairs}


async def _read_body(reader: asyncio.StreamReader, fields: dict[str, str], status: int) -> bytes:
    if status in {204, 304}:
        return b""
    if "chunked" in fields.get("transfer-encoding", "").lower():
        return await _read_chunks(reader)
    if "content-length" in fields:
        return await reader.readexactly(int(fields["content-length"]))
    return await reader.read()


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while size := int((await reader.readuntil(b"\r\n")).partition(b";")[0], 16):
        body += await reader.readexactly(size)
        await reader.readexactly(2)
    await reader.readuntil(b"\r\n")
    return body


def _since(started: float) -> float:
    return (time.perf_counter() - started) * 1000
