"""One call by the official Python SDK, second generation: both eras."""

import client
import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import ElicitResult


async def call(options):
    async def elicit(_, params):
        return ElicitResult(**client.answer_to(options, params))

    mode = "auto" if options.era == "modern" else "legacy"
    more = {"elicitation_callback": elicit} if options.answer else {}
    async with httpx2.AsyncClient(headers=options.headers) as http:
        async with Client(streamable_http_client(options.url, http_client=http), mode=mode, **more) as session:
            tools = [tool.name for tool in (await session.list_tools()).tools]
            result = await session.call_tool(options.tool, options.args)
            return {"protocol": session.protocol_version, "tools": tools, **client.describe_result(result)}


client.run(call)
