"""Talks to a WebSocket echo server through weir, in every way the library knows, and says `ok` at the end.

    client.py URL [CA]
"""

import asyncio
import ssl
import sys

import websockets
from websockets.exceptions import ConnectionClosedError, ConnectionClosedOK, InvalidStatus


def check(what, is_, expected):
    if is_ != expected:
        sys.exit(f"{what}: {is_!r:.200}, not {expected!r:.200}")


async def main(url, ca):
    options = {"ssl": ssl.create_default_context(cafile=ca)} if ca else {}
    options |= {"max_size": None, "proxy": None}
    async with websockets.connect(f"{url}/echo?a=b%20c", subprotocols=["one", "two"], **options) as ws:
        check("subprotocol", ws.subprotocol, "two")
        check("target", await ws.recv(), "/echo?a=b%20c")
        await ws.send("text: \u00e9\u4e16\U0001f30a")
        check("text", await ws.recv(), "text: \u00e9\u4e16\U0001f30a")
        await ws.send(b"\x00\xff" * 50)
        check("binary", await ws.recv(), b"\x00\xff" * 50)
        await ws.send("")
        check("empty", await ws.recv(), "")
        big = bytes(range(256)) * 4096  # 1 MiB
        await ws.send(big)
        check("1 MiB", await ws.recv(), big)
        await ws.send(["in ", "three ", "fragments"])
        check("fragments", await ws.recv(), "in three fragments")
        await asyncio.wait_for(await ws.ping(b"weir"), 30)
        for n in range(500):
            await ws.send(str(n))
        for n in range(500):
            check("order", await ws.recv(), str(n))
        await ws.send("close 4001 as asked")
        try:
            await ws.recv()
            sys.exit("it was to be closed")
        except ConnectionClosedError as closed:
            check("close", (closed.rcvd.code, closed.rcvd.reason), (4001, "as asked"))

    async with websockets.connect(f"{url}/echo", compression=None, **options) as ws:
        check("target", await ws.recv(), "/echo")
        await ws.send("without compression")
        check("without compression", await ws.recv(), "without compression")
        await ws.close(1000, "bye")
        check("close", (ws.close_code, ws.close_reason), (1000, "bye"))

    async def one(n):
        async with websockets.connect(f"{url}/echo?{n}", **options) as ws:
            check("target", await ws.recv(), f"/echo?{n}")
            await ws.send(f"message {n}")
            check("parallel", await ws.recv(), f"message {n}")

    await asyncio.gather(*(one(n) for n in range(50)))

    try:
        async with websockets.connect(f"{url}/refused", **options):
            sys.exit("it was to be refused")
    except InvalidStatus as refused:
        check("refusal", (refused.response.status_code, bytes(refused.response.body)), (403, b"not here"))
    print("ok")


asyncio.run(asyncio.wait_for(main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None), 60))
