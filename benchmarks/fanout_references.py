"""What the hub is compared with: both read the same layer and send the same bytes.

`naive` is the consumer that most Channels projects write: every connection joins the group, and
receives, decodes and encodes every packet for itself. `serve_websockets` is near the limit: one
reader of the layer, one encoding, and the `websockets` library's own broadcast.
"""

import asyncio
import sys

import django
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.layers import get_channel_layer
from websockets.asyncio.server import broadcast, serve

django.setup()

from ingest.broadcast import PACKET, group_of
from ingest.messages import Encoder, View
from ingest.packets import Packet

DEVICE = "dev_fanout"


def encoded(message: dict) -> str:
    """Return the text that a packet of the layer becomes."""
    fields = {name: value for name, value in message.items() if name != "type"}
    told = Encoder(Packet.from_wire(fields)).data(View())
    return "" if told is None else told["text"]


class NaiveConsumer(AsyncWebsocketConsumer):
    """One group member a connection."""

    groups = [group_of(DEVICE)]

    async def device_packet(self, message: dict) -> None:
        """Send a packet on."""
        await self.send(text_data=encoded(message))


naive = NaiveConsumer.as_asgi()


async def serve_websockets(port: int) -> None:
    """Serve with the `websockets` library until killed."""
    connections = set()

    async def handle(connection) -> None:
        connections.add(connection)
        try:
            await connection.wait_closed()
        finally:
            connections.discard(connection)

    layer = get_channel_layer()
    channel = await layer.new_channel()
    await layer.group_add(group_of(DEVICE), channel)
    async with serve(handle, "127.0.0.1", port, compression=None):
        while True:
            message = await layer.receive(channel)
            if message["type"] == PACKET:
                broadcast(connections, encoded(message))


if __name__ == "__main__":
    asyncio.run(serve_websockets(int(sys.argv[1])))
