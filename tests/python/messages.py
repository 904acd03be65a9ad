"""Talks to the echo server through a weir with the plugin `edit.lua`, and says `ok` at the end.

    messages.py URL "frames"|"messages" "compressed"|"plain" [CA]
"""

import asyncio
import os
import ssl
import sys

import websockets
from websockets.exceptions import ConnectionClosed


def check(what, is_, expected):
    if is_ != expected:
        sys.exit(f"{what}: {is_!r:.200}, not {expected!r:.200}")


async def closed(ws):
    """What the next thing is closed with, which must be a close."""
    try:
        sys.exit(f"{await ws.recv()!r:.200}, where it was to be closed")
    except ConnectionClosed as error:
        return error.rcvd and (error.rcvd.code, error.rcvd.reason)


async def pieces(ws, words):
    """The fragments in which the words come back."""
    await ws.send(f"pieces {words}")
    return [fragment async for fragment in ws.recv_streaming()]


async def both_ways(ws, count):
    """Both sides send as fast as they can; each order holds."""

    async def send():
        for n in range(count):
            await ws.send(f"number {n}")

    sending = asyncio.create_task(send())
    expected = {"flood": 0, "number": 0}
    while expected != {"flood": count, "number": count}:
        kind, n = (await ws.recv()).split()
        check(kind, int(n), expected[kind])
        expected[kind] += 1
    await sending


async def main(url, watch, compression, ca=None):
    options = {"ssl": ssl.create_default_context(cafile=ca)} if ca else {}
    options |= {"max_size": None, "proxy": None}
    async with websockets.connect(f"{url}/echo", **options) as ws:

        async def echo(sent, *expected):
            await ws.send(sent)
            for message in expected:
                check(f"what comes of {sent!r:.50}", await ws.recv(), message)

        names = [extension.name for extension in ws.protocol.extensions]
        check("extensions", names, ["permessage-deflate"] if compression == "compressed" else [])
        check("target", await ws.recv(), "/echo")
        await echo("text: \u00e9\u4e16\U0001f30a", "text: \u00e9\u4e16\U0001f30a")
        # Before anything was changed: with context takeover, what comes after that is compressed anew and in one piece.
        check("pieces", await pieces(ws, "one two three"), ["one ", "two ", "three"])
        await echo("a secret, the secret \u4e16", "a ******, the ****** \u4e16")
        await echo("tell me " + "why " * 100, "tell me " + "why " * 100)
        await echo("tell me", f"they are {compression}", b"\x00\xff")
        await ws.send("drop this")
        await echo("blank this", "")
        await echo("second", "first", "second")
        noise = os.urandom(1 << 20)
        await echo(noise, noise)
        large = "".join(f"the secret {n} of secrets " for n in range(40_000))
        await echo(large, large.replace("secret", "******"))
        await echo(["a sec", "ret, ", "the secret"], "a ******, the ******")
        changed = ["the ****** word"] if watch == "messages" else ["the ", "****** ", "word"]
        check("changed pieces", await pieces(ws, "the secret word"), changed)
        await asyncio.wait_for(await ws.ping(b"weir"), 30)
        await ws.send("flood 1000")
        await both_ways(ws, 1000)
        await ws.send("end this")
        check("close by the plugin", await closed(ws), (4001, "as the plugin says"))

    async with websockets.connect(f"{url}/quiet", **options) as ws:
        await ws.send("close 4002 as asked")
        check("close by the server", await closed(ws), (4002, "as asked"))
    async with websockets.connect(f"{url}/quiet", **options) as ws:
        await ws.close(4003, "bye")
        check("close by the client", (ws.close_code, ws.close_reason), (4003, "bye"))
    async with websockets.connect(f"{url}/quiet", **options) as ws:
        await ws.send("before")
        await ws.send(os.urandom(5 << 20))
        check("what came before", await ws.recv(), "before")
        check("close for its size", (await closed(ws))[0], 1009)
    print("ok")


asyncio.run(asyncio.wait_for(main(*sys.argv[1:]), 60))
