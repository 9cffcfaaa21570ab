"""One call by the official Python SDK, first generation: the legacy era."""

import client
from mcp import ClientSession
from mcp.client.streamable_http import streamablehttp_client
from mcp.types import ElicitResult


async def call(options):
    async def elicit(_, params):
        return ElicitResult(**client.answer_to(options, params))

    async with streamablehttp_client(options.url, headers=options.headers) as (read, write, _):
        async with ClientSession(read, write, elicitation_callback=elicit if options.answer else None) as session:
            begun = await session.initialize()
            tools = [tool.name for tool in (await session.list_tools()).tools]
            result = await session.call_tool(options.tool, options.args)
            return {"protocol": begun.protocolVersion, "tools": tools, **client.describe_result(result)}


client.run(call)
