"""Links and lists of sessions in a browser: looking only, two people at once, copies, undo."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError
from playwright.sync_api import expect

from sam_ui.services.views import STEPS, EntityType, SessionInfo
from tests.ui.conftest import Live, shoot

pytestmark = [pytest.mark.ui, pytest.mark.browser]

TEXT = "Ada met Grace in Bled. Nothing happened. Professor Hubble left."


@pytest.fixture
def session(live: Live) -> SessionInfo:
    """Texts, types and weights; no results."""
    session = live.services.sessions.create("Letters of Ada")
    live.services.corpus.add_text(session.id, TEXT)
    live.services.types.set(session.id, [EntityType("person"), EntityType("place")])
    live.services.drafts.change(
        session.id, lambda draft: draft.weighed("astro", 0.5).weighed("law", 0.5)
    )
    return session


def link(live: Live, token: str, step: str = "") -> str:
    return f"{live.url}/?s={token}" + (f"&step={step}" if step else "")


def forge(page: Any, component: str, **data: str) -> None:
    """Send an event as a button of the component would that the page does not have."""
    page.evaluate(
        """([id, data]) => {
          const button = document.createElement('button');
          Object.assign(button.dataset, data);
          document.querySelector('#' + id + ' .html-container > *').append(button);
          button.click();
        }""",
        [component, data],
    )


def kept(live: Live, session: SessionInfo) -> list[Any]:
    services = live.services
    return [
        services.sessions.get(session.id).name,
        services.corpus.files(session.id),
        services.types.list(session.id),
        services.drafts.get(session.id),
        services.jobs.latest(session.id),
        [each.id for each in services.links.list(session.id)],
    ]


def test_with_a_view_link_one_can_look_and_change_nothing(
    live: Live, visit: Any, session: SessionInfo, shots: Path
) -> None:
    before = kept(live, session)
    token = live.services.links.create(session.id, "view")
    before[-1] = [each.id for each in live.services.links.list(session.id)]
    page = visit(link(live, token))
    expect(page.locator(".sam-looking")).to_have_text(
        "You are looking at Letters of Ada; you cannot change it."
    )
    expect(page.locator("#session-name")).to_have_count(0)
    expect(page.locator("#files")).to_contain_text("Pasted text")
    for hidden in ("#drop", "#paste", "#add-text", "#types-box", "#primary"):
        expect(page.locator(hidden)).to_be_hidden()
    expect(page.locator("#files [data-act=remove]")).to_be_hidden()
    expect(page.locator("#types .sam-chip.add").first).to_be_hidden()
    for step in STEPS:
        page.locator(f"#rail-{step}").click()
        expect(page.locator(f"#step-{step}")).to_be_visible()
        expect(page.locator(".sam-notice")).to_have_count(0)
        shoot(page, shots / f"view-only-{step}.png")
    expect(page.locator("#share-links")).to_have_count(0)

    page.locator("#rail-merge").click()
    expect(page.locator("#weights")).to_contain_text("0.50")
    expect(page.locator("#weights input")).to_have_count(0)
    forge(page, "weights", act="remove", name="astro")
    expect(page.locator("#sam-notice [role=alert]")).to_contain_text("but not change it")
    forge(page, "sam-header", act="rename", value="Mine now")
    page.locator("#rail-upload").click()
    expect(page.locator(".sam-notice")).to_have_count(0)
    forge(page, "files", act="remove", file="1")
    expect(page.locator("#sam-notice [role=alert]")).to_contain_text("but not change it")
    page.locator("#paste textarea").evaluate("node => { node.value = 'Forged.'; }")
    page.locator("#add-text").evaluate("node => node.click()")
    page.locator("#rail-share").click()
    expect(page.locator("#share-top")).to_be_visible()
    assert kept(live, session) == before


def test_a_revoked_link_ends_in_the_open_page(
    live: Live, visit: Any, session: SessionInfo, shots: Path
) -> None:
    owner = visit(link(live, session.token, "share"))
    expect(owner.locator("#links li")).to_have_count(1)
    owner.locator("#link-label").get_by_role("textbox").fill("Grace")
    owner.locator("#create-link").click()
    expect(owner.locator("#new-link")).to_contain_text("Here is the link for Grace.")
    field = owner.locator("#new-link-field")
    expect(field).to_have_value(re.compile(rf"^{re.escape(live.url)}/\?s=[\w-]{{32}}$"))
    given = field.input_value()
    shoot(owner, shots / "5-share-links.png")

    guest = visit(given)
    expect(guest.locator(".sam-looking")).to_be_visible()
    owner.reload()
    expect(owner.locator("#links li")).to_have_count(2)
    assert given.split("s=")[1] not in owner.content(), "a link is shown once"
    row = owner.locator("#links li", has_text="Grace")
    expect(row).to_contain_text("last used just now")
    expect(owner.locator("#links li", has_text="you are using").locator("button")).to_have_count(0)
    owner.once("dialog", lambda dialog: dialog.accept())
    row.get_by_role("button").click()
    expect(owner.locator("#links li")).to_have_count(1)

    guest.locator("#rail-match").click()
    expect(guest.locator("#sam-notice")).to_contain_text("This link has been revoked.")
    expect(guest.locator("#new-session")).to_be_visible()
    expect(guest.locator("body")).not_to_contain_text("Letters of Ada")
    guest.goto(given)
    expect(guest.locator("#sam-notice")).to_contain_text("This link has been revoked.")


def test_two_browsers_on_one_session_keep_what_the_other_has_changed(
    live: Live, visit: Any, session: SessionInfo
) -> None:
    ada = visit(link(live, session.token, "merge"))
    bob = visit(link(live, live.services.links.create(session.id, "edit"), "merge"))
    for page in (ada, bob):
        expect(page.locator("#weight-law")).to_have_value("0.5")
    ada.locator("#weight-astro").fill("0.8")
    ada.locator("#weight-astro").press("Enter")
    expect(ada.locator("#weights")).to_contain_text("add up to 1.30")
    expect(bob.locator("#weight-astro")).to_have_value("0.5")  # not yet
    bob.locator("#weight-law").fill("0.3")
    bob.locator("#weight-law").press("Enter")
    expect(bob.locator("#weights")).to_contain_text("add up to 1.10")
    expect(bob.locator("#weight-astro")).to_have_value("0.8")
    ada.locator("#rail-upload").click()
    expect(ada.locator("#files")).to_be_visible()
    ada.locator("#rail-merge").click()
    expect(ada.locator("#weight-law")).to_have_value("0.3")
    assert live.services.drafts.get(session.id).weights == {"astro": 0.8, "law": 0.3}


def test_sessions_are_renamed_copied_deleted_and_brought_back(
    live: Live, visit: Any, session: SessionInfo, shots: Path
) -> None:
    page = visit(link(live, session.token, "upload"))
    expect(page.locator("#files")).to_contain_text("Pasted text")
    page.locator(".sam-brand").click()
    rows = page.locator("#recent-sessions li")
    expect(rows).to_have_count(1)
    expect(rows.first).to_contain_text("3 sentences · 2 types")
    expect(rows.first).to_contain_text("just now")

    page.get_by_role("button", name="Rename Letters of Ada").click()
    field = rows.first.locator("input")
    expect(field).to_be_focused()
    field.press("Escape")
    expect(field).to_be_hidden()
    page.get_by_role("button", name="Rename Letters of Ada").click()
    field.fill("Lakes <b>of</b> Bled")
    field.press("Enter")
    expect(page.get_by_role("button", name="Rename Lakes <b>of</b> Bled")).to_be_visible()

    page.get_by_role("button", name="Duplicate").click()
    expect(rows).to_have_count(2)
    expect(page.locator("#sam-notice")).to_contain_text("Copied as “Lakes <b>of</b> Bled (copy)”.")
    expect(rows.first.locator("strong")).to_have_text("Lakes <b>of</b> Bled (copy)")

    page.get_by_role("button", name="Delete Lakes <b>of</b> Bled", exact=True).click()
    expect(rows).to_have_count(1)
    expect(page.locator("#sam-notice")).to_contain_text("is deleted")
    shoot(page, shots / "start-deleted.png")
    other = visit(link(live, session.token))
    expect(other.locator("#sam-notice")).to_contain_text("This session has been deleted.")
    page.locator("#undo-delete").click()
    expect(rows).to_have_count(2)
    expect(page.locator(".sam-notice")).to_have_count(0)
    other.goto(link(live, session.token, "upload"))
    expect(other.locator("#files")).to_contain_text("Pasted text")

    rows.first.locator(".sam-session").click()
    expect(page.locator("#session-name")).to_have_value("Lakes <b>of</b> Bled (copy)")
    page.locator("#rail-upload").click()
    page.locator("#types-box").get_by_role("textbox").fill("ship")
    page.locator("#add-types").click()
    expect(page.locator("#types")).to_contain_text("ship")
    names = [kind.name for kind in live.services.types.list(session.id)]
    assert names == ["person", "place"], "the copy is a session of its own"


def test_programs_with_a_view_token_can_read_and_not_write(
    live: Live, session: SessionInfo
) -> None:
    token = live.services.links.create(session.id, "view")
    before = kept(live, session)
    client = Client(live.url, verbose=False, analytics_enabled=False)
    read = client.predict(token=token, api_name="/read_session")
    assert read["total"] == 3
    for endpoint, values in (
        ("/add_text", {"text": "Forged."}),
        ("/set_types", {"types": "forged"}),
    ):
        with pytest.raises(AppError, match="for looking only"):
            client.predict(token=token, api_name=endpoint, **values)
    client.close()
    assert kept(live, session) == before


def test_lists_links_and_looking_fit_a_narrow_window(
    live: Live, visit: Any, session: SessionInfo, shots: Path
) -> None:
    live.services.sessions.rename(
        session.id, "Sediments of alpine lakes and their names, 1850–1914"
    )
    page = visit(link(live, session.token, "share"), width=400)
    expect(page.locator("#links li")).to_have_count(1)
    page.locator("#create-link").click()
    expect(page.locator("#new-link-field")).to_be_visible()
    fits(page)
    shoot(page, shots / "narrow-links.png")
    given = page.locator("#new-link-field").input_value()
    page.locator(".sam-brand").click()
    expect(page.locator("#recent-sessions li")).to_have_count(1)
    fits(page)
    page.get_by_role("button", name="Rename").click()
    fits(page)
    page.keyboard.press("Escape")
    page.goto(given)
    expect(page.locator(".sam-looking")).to_be_visible()
    fits(page)
    shoot(page, shots / "narrow-looking.png")


def fits(page: Any) -> None:
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= 400, f"{wide} pixels wide"
