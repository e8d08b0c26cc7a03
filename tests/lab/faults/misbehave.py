"""How a fault is acted out on a connection."""

import asyncio
import functools
import zlib
from collections.abc import Awaitable, Callable

from tests.lab.faults.spoil import SPOILT, Scene
from tests.lab.http.wire import Response

BOMB = 64 * 1024 * 1024


async def act_out(scene: Scene, note: Callable[[], None]) -> None:
    """Let the fault happen; `note` is called before the client can have seen the end of it.

    Whatever takes its time (drips, an endless body) is left to the caller to note.
    """
    if scene.fault.delay:
        await asyncio.sleep(scene.fault.delay)
    if (spoil := SPOILT.get(scene.fault.act)) is not None:
        response = spoil(scene)
        scene.status = response.status
        note()
        scene.line.send(response, scene.request)
    elif (cut := _CUT_SHORT.get(scene.fault.act)) is not None:
        note()
        cut(scene)
    else:
        await _AT_LENGTH[scene.fault.act](scene, note)


def _partial(scene: Scene) -> None:
    true = scene.truth()
    scene.line.write(true.head(length=len(true.body)) + true.body[: len(true.body) // 2])
    scene.line.close()


def _reset(scene: Scene) -> None:
    scene.line.reset()


def _close(scene: Scene) -> None:
    scene.line.close()


async def _hang(_scene: Scene, note: Callable[[], None]) -> None:
    note()
    # Cancelled when the client leaves.
    await asyncio.Event().wait()


async def _drip_headers(scene: Scene, _note: Callable[[], None]) -> None:
    true = scene.truth()
    await _drip(scene, true.encode())
    scene.status = true.status


async def _drip_body(scene: Scene, _note: Callable[[], None]) -> None:
    true = scene.truth()
    scene.line.write(true.head(length=len(true.body)))
    await _drip(scene, true.body)
    scene.status = true.status


async def _drip(scene: Scene, data: bytes) -> None:
    for byte in data:
        scene.line.write(bytes((byte,)))
        await scene.line.drain()
        await asyncio.sleep(scene.fault.gap)


async def _endless(scene: Scene, _note: Callable[[], None]) -> None:
    head = Response(200, headers=[("Transfer-Encoding", "chunked")]).head(length=None)
    scene.line.write(head + b"2\r\n[0\r\n")
    chunk = b"10000\r\n" + b",0" * 0x8000 + b"\r\n"
    while True:
        scene.line.write(chunk)
        await scene.line.drain()
        # A loopback client may never fill the buffer: others want the loop as well.
        await asyncio.sleep(0)


async def _gzip_bomb(scene: Scene, note: Callable[[], None]) -> None:
    body = await asyncio.to_thread(_bomb, scene.fault.size or BOMB)
    scene.status = 200
    note()
    response = Response(200, body, headers=[("Content-Encoding", "gzip")])
    scene.line.send(response, scene.request)


@functools.cache
def _bomb(size: int) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    block = b" " * 1024 * 1024
    packed = [packer.compress(block) for _ in range(max(1, size // len(block)))]
    return b"".join([*packed, packer.flush()])


_CUT_SHORT: dict[str, Callable[[Scene], None]] = {
    "partial": _partial,
    "reset": _reset,
    "close": _close,
}
_AT_LENGTH: dict[str, Callable[[Scene, Callable[[], None]], Awaitable[None]]] = {
    "hang": _hang,
    "drip_headers": _drip_headers,
    "drip_body": _drip_body,
    "endless": _endless,
    "gzip_bomb": _gzip_bomb,
}
