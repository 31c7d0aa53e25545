"""The endpoints for programs, called as programs call them: gradio_client and plain HTTP."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from gradio.utils import get_function_description
from gradio_client import Client
from gradio_client.exceptions import AppError

from experts.errors import SamError
from sam_ui import app as sam_app
from sam_ui.api import endpoints
from sam_ui.settings import Settings
from tests.ui.conftest import Live

pytestmark = pytest.mark.ui

DOCS = Path(__file__).resolve().parents[2] / "docs" / "api.md"
PATIENCE_S = 300
WRITES = {
    "add_text": {"text": "Ada went home."},
    "set_types": {"types": "person"},
    "match": {},
    "merge": {"weights": {"astro": 1.0}},
    "predict": {},
    "cancel_job": {"job": "1"},
}
READS = ("read_session", "read_match", "read_merges", "read_predictions")


@pytest.fixture(scope="module")
def client(live: Live) -> Iterator[Client]:
    client = Client(live.url, verbose=False, analytics_enabled=False)
    yield client
    client.close()


def call(client: Client, endpoint: str, **values: Any) -> Any:
    return client.predict(api_name=f"/{endpoint}", **values)


def finished(client: Client, token: str, job: dict[str, Any]) -> dict[str, Any]:
    """The job when it has ended."""
    deadline = time.monotonic() + PATIENCE_S
    while job["state"] in ("queued", "running"):
        assert time.monotonic() < deadline, job
        job = call(client, "read_job", token=token, job=job["job"])
    return job


@pytest.fixture(scope="module")
def token(client: Client) -> str:
    token = call(client, "start_session", name="Letters")["token"]
    call(client, "add_text", token=token, text="Ada met Grace in Bled. Nothing happened.")
    call(client, "set_types", token=token, types="person, place")
    return str(token)


def test_match_merge_and_predict_from_a_program(client: Client, live: Live, token: str) -> None:
    with pytest.raises(AppError, match="Call match first"):
        call(client, "read_match", token=token)
    job = finished(client, token, call(client, "match", token=token, samples=2, k=1))
    assert (job["kind"], job["state"], job["progress"]) == ("match", "done", 1.0)
    match = call(client, "read_match", token=token)
    assert {e["name"] for e in match["experts"]} == {"astro", "law", "lake"}
    assert sum(match["weights"].values()) == pytest.approx(1)
    assert match["experts"][0]["weight"] == match["weights"][match["experts"][0]["name"]]
    assert "*" not in match["summary"]

    # Without weights those that are recommended; predictions come along.
    job = finished(client, token, call(client, "merge", token=token))
    assert job["state"] == "done", job
    (merged,) = call(client, "read_merges", token=token)
    assert merged["weights"] == match["weights"]
    assert merged["predicted"]
    assert [e["name"] for e in merged["recipes"][0]["experts"]] == list(match["weights"])
    found = call(client, "read_predictions", token=token, limit=1)
    assert (found["total"], found["merge"]) == (2, merged["merge"])
    (row,) = found["sentences"]
    assert [row["text"][e["start"] : e["end"]] for e in row["entities"]] == ["Ada", "Grace", "Bled"]
    assert {e["label"] for e in row["entities"]} == {"person"}
    assert found["counts"]["person"] == 4

    # Own weights and another method, without reading; then the reading by itself.
    job = finished(
        client, token,
        call(client, "merge", token=token, weights={"astro": 0.5, "law": 0.5}, method="ties",
             parameters={"density": 0.5}, rank=2, predict=False),
    )  # fmt: skip
    newest = call(client, "read_merges", token=token)[0]
    assert (newest["method"], newest["predicted"]) == ("ties", False)
    job = finished(client, token, call(client, "predict", token=token, merge=newest["merge"]))
    assert job["state"] == "done"
    assert call(client, "read_predictions", token=token)["merge"] == newest["merge"]
    # What a program did is what the browser shows.
    session = live.services.sessions.by_token(token)
    assert session is not None
    assert live.services.state(session.id)["review"] == "done"


def test_a_failed_and_a_cancelled_job_say_so(client: Client, live: Live, token: str) -> None:
    assert live.engine is not None
    live.engine.error = MemoryError()
    try:
        job = finished(client, token, call(client, "match", token=token))
    finally:
        live.engine.error = None
    assert job["state"] == "failed"
    assert "memory" in job["what"]
    assert job["hint"]
    other = call(client, "start_session")["token"]
    with pytest.raises(AppError, match="no such job"):
        call(client, "read_job", token=other, job=job["job"])
    with pytest.raises(AppError):
        call(client, "cancel_job", token=other, job=job["job"])
    assert call(client, "cancel_job", token=token, job=job["job"])["state"] == "failed"


def test_a_token_for_looking_reads_and_changes_nothing(client: Client, live: Live) -> None:
    own = live.services.sessions.try_sample()
    view = live.services.links.create(own.id, "view")
    before = call(client, "read_session", token=own.token)
    for endpoint, values in WRITES.items():
        with pytest.raises(AppError, match="for looking only"):
            call(client, endpoint, token=view, **values)
    assert call(client, "read_session", token=view) == before
    assert call(client, "read_merges", token=view) == []
    with pytest.raises(AppError, match="Call match first"):
        call(client, "read_match", token=view)


def test_a_wrong_token_opens_no_endpoint(client: Client) -> None:
    for endpoint in (*WRITES, *READS):
        with pytest.raises(AppError, match="No session has this token"):
            call(client, endpoint, token="wrong", **WRITES.get(endpoint, {}))
    for wrong in (None, 7, ["x"], {"a": 1}):
        with pytest.raises(AppError, match="No session has this token"):
            call(client, "read_session", token=wrong)


@pytest.mark.parametrize(
    ("endpoint", "values", "said"),
    [
        ("match", {"samples": "ten"}, "samples must be a whole number"),
        ("match", {"samples": 1.5}, "samples must be a whole number"),
        ("match", {"samples": -1}, "samples cannot be -1"),
        ("match", {"samples": 0}, "0 sentences cannot be sampled"),
        ("merge", {"weights": [1, 2]}, "weights must be an object"),
        ("merge", {"weights": {"astro": "much"}}, "weight of astro is not a number"),
        ("merge", {"weights": {"nobody": 1}}, "nobody"),
        ("merge", {"weights": {"astro": 1}, "method": "magic"}, "magic"),
        ("merge", {"weights": {"astro": 1}, "method": 3}, "method must be text"),
        ("merge", {"weights": {"astro": 1}, "parameters": {"x": 1}}, "x"),
        ("predict", {"merge": "none"}, "does not exist"),
        ("read_predictions", {"offset": "a"}, "offset must be a whole number"),
        ("add_text", {"text": 3}, "text must be text"),
        ("set_types", {"types": []}, "types must be text"),
        ("read_job", {"job": "x"}, "no such job"),
    ],
)
def test_mistakes_are_told_and_change_nothing(
    client: Client, token: str, endpoint: str, values: dict[str, Any], said: str
) -> None:
    before = call(client, "read_session", token=token)
    with pytest.raises(AppError, match=re.escape(said)):
        call(client, endpoint, token=token, **values)
    assert call(client, "read_session", token=token) == before


def test_every_endpoint_is_described(client: Client, live: Live) -> None:
    info = client._get_api_info()["named_endpoints"]
    named = {endpoint.__name__: endpoint for endpoint in endpoints(live.services)}
    assert {f"/{name}" for name in named} == set(info)
    for name, endpoint in named.items():
        description, parameters, _ = get_function_description(endpoint)
        # Gradio shows the first part to people, both to assistants.
        assert info[f"/{name}"]["description"].startswith(description[:40])
        assert len(description) > 40, name
        assert [p for p, said in parameters.items() if not said] == [], name


def test_the_page_documents_every_endpoint_with_its_parameters(client: Client) -> None:
    text = DOCS.read_text("utf-8")
    described = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    for name, endpoint in described.items():
        line = next(row for row in text.splitlines() if row.startswith(f"| `{name[1:]}`"))
        for parameter in endpoint["parameters"]:
            assert f"`{parameter['parameter_name']}`" in line, (name, parameter)


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", DOCS.read_text("utf-8"), re.S)


def test_the_example_in_python_runs(live: Live, capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = blocks("python")
    exec(compile(code.replace("http://127.0.0.1:7860", live.url), str(DOCS), "exec"), {})
    assert "Leith" in capsys.readouterr().out


def test_the_example_with_curl_is_what_the_server_understands(live: Live) -> None:
    """The requests of the page, sent as they stand, without a shell."""
    (script,) = blocks("sh")
    found = re.findall(r"SAM/gradio_api/call/(\w+) -H '([^']+)' -d '(\{.*\})'", script)
    assert [name for name, *_ in found] == ["start_session", "read_session"]
    token = ""
    for name, header, body in found:
        sent = json.loads(body.replace("'\"$TOKEN\"'", token))
        key, value = header.split(": ")
        request = Request(
            f"{live.url}/gradio_api/call/{name}", json.dumps(sent).encode(), {key: value}
        )
        event = json.load(urlopen(request))["event_id"]
        answer = urlopen(f"{live.url}/gradio_api/call/{name}/{event}").read().decode()
        assert answer.startswith("event: complete"), answer
        data = json.loads(answer.split("data: ", 1)[1])[0]
        token = data.get("token", token)
    assert data["name"] == "Harbour letters"


def test_mcp_is_off_and_its_absence_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    off = Settings(data_dir=tmp_path)
    assert sam_app.launch_options(off)["mcp_server"] is False
    on = Settings(data_dir=tmp_path, mcp=True)
    assert sam_app.launch_options(on)["mcp_server"] is True
    monkeypatch.setattr(sam_app, "find_spec", lambda name: None)
    sam_app.check_mcp(off)
    with pytest.raises(SamError, match="package for MCP is not installed"):
        sam_app.serve(on)
    assert not (tmp_path / "sam.sqlite3").exists()
