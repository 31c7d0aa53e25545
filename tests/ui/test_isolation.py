"""Two clients on one app must not see each other, and only a few endpoints are open to programs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError

from tests.ui.conftest import Live

pytestmark = pytest.mark.ui

PUBLIC = {"/start_session", "/add_text", "/set_types", "/read_session", "/compare_experts"}
PUBLIC |= {"/match", "/merge", "/predict", "/read_job", "/cancel_job"}
PUBLIC |= {"/read_match", "/read_merges", "/read_predictions"}


@pytest.fixture
def clients(live: Live) -> Iterator[tuple[Client, Client]]:
    pair = tuple(Client(live.url, verbose=False, analytics_enabled=False) for _ in range(2))
    yield pair  # type: ignore[misc]
    for client in pair:
        client.close()


def call(client: Client, endpoint: str, **values: Any) -> Any:
    return client.predict(api_name=f"/{endpoint}", **values)


def test_two_clients_work_side_by_side_and_see_only_their_own(
    clients: tuple[Client, Client],
) -> None:
    ada, bob = clients
    ada_token = call(ada, "start_session", name="Ada's lakes")["token"]
    bob_token = call(bob, "start_session", name="Bob's ships")["token"]
    assert ada_token != bob_token

    call(ada, "add_text", token=ada_token, text="Lake Bled froze over in January.")
    call(bob, "add_text", token=bob_token, text="The brig Active left Leith at dawn.")
    call(ada, "set_types", token=ada_token, types="lake, month")
    call(bob, "set_types", token=bob_token, types="ship: with a name")

    of_ada = call(ada, "read_session", token=ada_token)
    of_bob = call(bob, "read_session", token=bob_token)
    assert of_ada["sentences"] == ["Lake Bled froze over in January."]
    assert of_bob["sentences"] == ["The brig Active left Leith at dawn."]
    assert of_ada["types"] == ["lake", "month"]
    assert of_bob["types"] == ["ship"]
    assert (of_ada["name"], of_bob["name"]) == ("Ada's lakes", "Bob's ships")


def test_experts_are_compared_for_whoever_has_a_session(
    clients: tuple[Client, Client],
) -> None:
    ada, _ = clients
    token = call(ada, "start_session", name="")["token"]
    told = call(ada, "compare_experts", token=token, names="astro, law")
    assert [(pair["first"], pair["second"]) for pair in told["pairs"]] == [("astro", "law")]
    with pytest.raises(AppError, match="at least two"):
        call(ada, "compare_experts", token=token, names="astro")
    with pytest.raises(AppError, match="No session has this token"):
        call(ada, "compare_experts", token="wrong", names="astro, law")


@pytest.mark.parametrize("token", ["", "wrong", "../../etc/passwd", "' OR 1=1 --", "x" * 10_000])
def test_nothing_opens_without_the_token(clients: tuple[Client, Client], token: str) -> None:
    ada, bob = clients
    call(ada, "start_session", name="Ada's")
    with pytest.raises(AppError, match="No session has this token"):
        call(bob, "read_session", token=token)
    with pytest.raises(AppError, match="No session has this token"):
        call(bob, "add_text", token=token, text="Hello.")


def test_only_the_named_endpoints_are_public(live: Live, clients: tuple[Client, Client]) -> None:
    described = clients[0].view_api(return_format="dict", print_info=False)
    assert set(described["named_endpoints"]) == PUBLIC
    assert described["unnamed_endpoints"] == {}
    visible = {
        dependency["api_visibility"]
        for dependency in clients[0].config["dependencies"]
        if f"/{dependency['api_name']}" not in PUBLIC
    }
    assert visible == {"private"}


def test_mistakes_come_back_as_a_sentence(clients: tuple[Client, Client]) -> None:
    ada, _ = clients
    token = call(ada, "start_session", name="")["token"]
    with pytest.raises(AppError) as raised:
        call(ada, "set_types", token=token, types=" , ")
    assert "Traceback" not in str(raised.value)
    with pytest.raises(AppError):
        call(ada, "add_text", token=token, text="   ")
    assert call(ada, "read_session", token=token)["total"] == 0


def test_the_database_and_the_data_folder_are_not_served(live: Live) -> None:
    data = live.services.settings.data_dir
    assert (data / "sam.sqlite3").is_file()
    for path in (data / "sam.sqlite3", data, "/etc/passwd"):
        with pytest.raises(HTTPError) as refused:
            urlopen(f"{live.url}/gradio_api/file={path}")
        assert refused.value.code in (403, 404)
