"""
Takes TLS off: listens on 127.0.0.1, passes what it decrypts on to the load server's port, and answers back.

    terminator.py PORT CERTIFICATE

It is slower than a good client: with it, wall time says nothing, CPU time of the client does.
"""

import asyncio
import contextlib
import ssl
import sys

PIECE = 1 << 20


async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(PIECE):
            writer.write(data)
            await writer.drain()
    writer.close()


async def serve(port: int, certificate: str) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream, downstream = await asyncio.open_connection("127.0.0.1", port, limit=PIECE)
        async with asyncio.TaskGroup() as both:
            both.create_task(pass_on(reader, downstream), name="up")
            both.create_task(pass_on(upstream, writer), name="down")

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=context, limit=PIECE)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)  # until the parent closes it


asyncio.run(serve(int(sys.argv[1]), sys.argv[2]))
