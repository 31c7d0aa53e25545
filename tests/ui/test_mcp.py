"""AI assistants: the endpoints as tools of an MCP server, called by the protocol's own client."""

from __future__ import annotations

import ast
import asyncio
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from mcp import ClientSession
from mcp.client.streamable_http import streamablehttp_client

from sam_ui.api import endpoints
from sam_ui.services import Services
from sam_ui.settings import Settings
from tests.ui.conftest import Live, running
from tests.unit.fakes import make_pool

pytestmark = pytest.mark.ui

MINUTE_S = 60


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """As `SAM_MCP=true sam-ui serve`, without a worker."""
    folder: Path = tmp_path_factory.mktemp("mcp")
    settings = Settings(data_dir=folder / "data", host="127.0.0.1", mcp=True)
    services = Services(settings, pool=make_pool(folder / "pool"))
    with running(services) as url:
        yield Live(url, services)
    services.close()


def assistant(app: Live, work: Callable[[ClientSession], Awaitable[Any]]) -> Any:
    """What `work` gives with a connected client; in a thread, since tests may have a loop."""

    async def connected() -> Any:
        async with (
            streamablehttp_client(f"{app.url}/gradio_api/mcp/", timeout=MINUTE_S) as (
                read,
                write,
                _,
            ),
            ClientSession(read, write) as client,
        ):
            await client.initialize()
            return await work(client)

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, connected()).result(5 * MINUTE_S)


def use(app: Live, tool: str, **arguments: Any) -> tuple[Any, bool]:
    """The answer of a tool, and whether it is an error."""
    answer = assistant(app, lambda client: client.call_tool(tool, arguments))
    text = answer.content[0].text
    # Gradio writes answers as Python does.
    return text if answer.isError else ast.literal_eval(text), bool(answer.isError)


def test_the_endpoints_are_the_tools_and_nothing_else_is(app: Live) -> None:
    tools = {tool.name: tool for tool in assistant(app, lambda c: c.list_tools()).tools}
    assert tools.keys() == {endpoint.__name__ for endpoint in endpoints(app.services)}
    for name, tool in tools.items():
        assert len(tool.description) > 40, name
    assert set(tools["add_text"].inputSchema["properties"]) == {"token", "text"}
    said = tools["merge"].inputSchema["properties"]["weights"]["description"]
    assert "expert name to weight" in said


def test_an_assistant_works_in_a_session(app: Live) -> None:
    session, failed = use(app, "start_session", name="Letters")
    assert not failed
    token = session["token"]
    added, _ = use(app, "add_text", token=token, text="Ada met Grace. It rained.")
    assert added == {"sentences": 2, "duplicates": 0}
    assert use(app, "set_types", token=token, types="person, place")[0] == ["person", "place"]
    read, _ = use(app, "read_session", token=token)
    assert (read["name"], read["sentences"]) == ("Letters", ["Ada met Grace.", "It rained."])
    job, _ = use(app, "match", token=token)
    assert (job["kind"], job["state"]) == ("match", "queued")
    assert use(app, "cancel_job", token=token, job=job["job"])[0]["state"] == "cancelled"


def test_an_assistant_with_a_link_for_looking_changes_nothing(app: Live) -> None:
    own = app.services.sessions.try_sample()
    view = app.services.links.create(own.id, "view")
    before, _ = use(app, "read_session", token=view)
    assert before["total"] > 0
    for tool, given in (("add_text", {"text": "x"}), ("set_types", {"types": "x"}), ("match", {})):
        said, failed = use(app, tool, token=view, **given)
        assert failed
        assert "for looking only" in said
    assert use(app, "read_session", token=view)[0] == before
    said, failed = use(app, "read_session", token="wrong")
    assert failed
    assert "No session has this token" in said
