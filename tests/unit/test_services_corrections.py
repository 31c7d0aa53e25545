"""Corrections of probe sentences: what is kept, and what they change at once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from db.repositories import CorrectionRepository
from experts.card import ExpertCard
from experts.errors import SamError
from experts.pool import Pool
from experts.spans import Span
from sam_ui.jobs.worker import Worker
from sam_ui.services import Services
from sam_ui.services.domains import Domain
from sam_ui.services.engine import Engine
from sam_ui.services.match_building import match_view
from sam_ui.services.probing import StoredAnswers
from sam_ui.services.rescoring import change_words
from sam_ui.services.views import MatchView
from sam_ui.settings import Settings
from tests.unit.fakes import BASE, FakeEmbedder, FakeExtractor, make_pool

TEXTS = [f"Ada met Grace and Kim at Lake Orvenn {i}." for i in range(6)]


class Unlike(FakeExtractor):
    """Astronomy finds all capitalised words, Lakes the first two, Court decisions the last."""

    def extract(self, texts: Any, types: Any, *, adapter: Any = None, **more: Any) -> Any:
        found = super().extract(texts, types, adapter=adapter, **more)
        part = {"astro": slice(None), "lake": slice(2), "law": slice(-1, None)}[adapter.name]
        return [spans[part] for spans in found]


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    make_pool(tmp_path / "pool")
    settings = Settings(data_dir=tmp_path / "data", _env_file=None)  # type: ignore[call-arg]
    pool = Pool(tmp_path / "pool", tmp_path / "own", base_model=BASE)
    services = Services(settings, pool=pool)
    yield services
    services.close()


@pytest.fixture
def session_id(services: Services) -> str:
    session = services.sessions.create("Lakes")
    services.corpus.add_text(session.id, "\n".join(TEXTS))
    services.types.set_text(session.id, "person, lake")
    return session.id


@pytest.fixture
def view(services: Services, session_id: str) -> MatchView:
    engine = Engine(
        services.settings, pool=services.pool, answers=StoredAnswers(services.store.answers)
    )
    engine.__dict__ |= {"embedder": FakeEmbedder(), "extractor": Unlike()}
    services.match.start(session_id, k=1)
    assert Worker(services, engine, name="w").run_one()
    return result(services, session_id)


def result(services: Services, session_id: str) -> MatchView:
    view = services.match.result(session_id)
    assert view is not None
    return view


def take(services: Services, session_id: str, view: MatchView, name: str, count: int) -> None:
    """Call an expert's answer to the first sentences right."""
    for probe in view.probe[:count]:
        assert probe.sentence_id is not None
        services.corrections.put(session_id, probe.sentence_id, probe.answers[name])


def scores(view: MatchView) -> dict[str, float | None]:
    return {score.name: score.f1 for score in view.experts}


# -- what is kept ------------------------------------------------------------------------------


def test_a_correction_is_kept_replaced_and_taken_back(services: Services, session_id: str) -> None:
    sentence = services.corpus.sentences(session_id).rows[0]
    spans = [Span(8, 13, "person"), Span(0, 3, "person", 0.4)]
    services.corrections.put(session_id, sentence.id, spans, who="Ada")
    (first,) = services.corrections.list(session_id)
    assert first.spans == (Span(0, 3, "person"), Span(8, 13, "person"))
    assert (first.types, first.who) == (("person", "lake"), "Ada")
    services.corrections.put(session_id, sentence.id, [])
    (second,) = services.corrections.list(session_id)
    assert (second.spans, second.who, second.created_at) == ((), "", first.created_at)
    assert second.updated_at > first.updated_at
    assert services.corrections.count(session_id) == 1
    assert services.corrections.remove(session_id, sentence.id)
    assert not services.corrections.remove(session_id, sentence.id)
    assert services.corrections.list(session_id) == []


@pytest.mark.parametrize(
    ("spans", "what"),
    [
        ([Span(0, 3, "river")], "“river” is not one of your entity types."),
        ([Span(0, 300, "lake")], "does not lie inside"),
        ([Span(3, 3, "lake")], "does not lie inside"),
        ([Span(0, 7, "lake"), Span(4, 13, "person")], "“Ada met” and “met Grace” overlap."),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_kept(
    services: Services, session_id: str, spans: list[Span], what: str
) -> None:
    sentence = services.corpus.sentences(session_id).rows[0]
    with pytest.raises(SamError, match=what):
        services.corrections.put(session_id, sentence.id, spans)
    assert services.corrections.count(session_id) == 0


def test_another_session_is_out_of_reach(services: Services, session_id: str) -> None:
    sentence = services.corpus.sentences(session_id).rows[0]
    other = services.sessions.create("Other")
    services.types.set_text(other.id, "person")
    with pytest.raises(SamError, match="no longer among your texts"):
        services.corrections.put(other.id, sentence.id, [])
    services.corrections.put(session_id, sentence.id, [])
    repository: CorrectionRepository = services.store.corrections
    assert repository.get(other.id, sentence.id) is None
    assert not services.corrections.remove(other.id, sentence.id)
    assert repository.of(other.id, [sentence.id]) == {}


def test_offsets_count_code_points(services: Services, session_id: str) -> None:
    text = "Zoë met 👩🏽‍🚀 Ada."
    services.corpus.add_text(session_id, text)
    sentence = services.corpus.sentences(session_id, search="Zo").rows[0]
    assert sentence.text == text
    start = text.index("Ada")
    services.corrections.put(session_id, sentence.id, [Span(start, start + 3, "person")])
    (kept,) = services.corrections.list(session_id)
    (span,) = kept.spans
    assert text[span.start : span.end] == "Ada"


def test_a_file_takes_its_corrections_with_it(services: Services, session_id: str) -> None:
    sentence = services.corpus.sentences(session_id).rows[0]
    services.corrections.put(session_id, sentence.id, [])
    services.corpus.remove_file(session_id, services.corpus.files(session_id)[0].id)
    assert services.corrections.count(session_id) == 0
    assert services.corrections.list(session_id) == []
    with pytest.raises(SamError, match="no longer among your texts"):
        services.corrections.put(session_id, sentence.id, [])


# -- what they change --------------------------------------------------------------------------


def test_scores_and_recommendation_follow_at_once(
    services: Services, session_id: str, view: MatchView
) -> None:
    before = scores(view)
    assert (view.corrected, view.change) == (0, "")
    take(services, session_id, view, "law", len(TEXTS))
    after = result(services, session_id)
    assert after.corrected == len(TEXTS)
    assert scores(after)["law"] == 1.0
    assert scores(after)["astro"] != before["astro"]
    assert set(after.by_probe) == {"law"}
    told = [[span.key for span in probe.correction or ()] for probe in after.probe]
    assert told == [[span.key for span in probe.answers["law"]] for probe in view.probe]
    law = next(score for score in after.experts if score.name == "law")
    assert (law.sentences, law.corrected, law.recommended) == (6, 6, True)
    assert "all of them corrected by you" in after.summary
    assert "*Court decisions* did best (F1 1.00" in after.summary
    for probe in view.probe:
        assert probe.sentence_id is not None
        services.corrections.remove(session_id, probe.sentence_id)
    again = result(services, session_id)
    assert scores(again) == before
    assert again.change == ""


def test_weights_follow_unless_set_by_hand(
    services: Services, session_id: str, view: MatchView
) -> None:
    drafts = services.drafts
    drafts.put(session_id, drafts.get(session_id).following(view))
    take(services, session_id, view, "law", 6)
    after = result(services, session_id)
    assert set(after.single) != set(view.single)
    followed = drafts.get(session_id).following(after)
    assert followed.weights == pytest.approx(dict(after.single), abs=1e-4)

    own = followed.weighed("lake", 0.3)
    drafts.put(session_id, own)
    take(services, session_id, view, "lake", 6)
    newest = result(services, session_id)
    assert newest.single != after.single
    assert drafts.get(session_id).following(newest).weights == own.weights
    assert not own.recommended(newest).own


def test_a_type_that_came_later_asks_for_another_look(
    services: Services, session_id: str, view: MatchView
) -> None:
    take(services, session_id, view, "law", 1)
    services.types.set_text(session_id, "person, lake, river")
    run = services.match.latest(session_id)
    assert run is not None
    run.params["types"].append("river")
    sentence = view.probe[0].sentence_id
    assert sentence is not None
    known = services.store.corrections.of(session_id, [sentence])
    scores = services.store.runs.scores(session_id, run.id)
    seen = match_view(run, scores, services.experts.ever(), known)
    assert seen.probe[0].unasked == ("river",)
    assert seen.probe[0].correction is not None
    assert seen.corrected == 0
    assert not seen.probe[1].present


def test_the_reasons_name_pairs_and_types_in_common(view: MatchView) -> None:
    for score in view.experts:
        assert score.shared == ("person",)
        assert len(score.pairs) == 3
        assert {pair.mine for pair in score.pairs} <= set(TEXTS)
        assert len({pair.theirs for pair in score.pairs}) == 3
        assert [pair.cosine for pair in score.pairs] == sorted(
            (pair.cosine for pair in score.pairs), reverse=True
        )
    assert view.map.total == len(TEXTS)


def test_nearest_pairs_use_nothing_twice() -> None:
    vectors = FakeEmbedder().embed(["aa", "ab", "ph"])
    exemplars = ["ph", "a", "hh"]
    card = ExpertCard(name="x", title="X", base_model=BASE, rank=1, exemplars=exemplars)
    domain = Domain(card, vectors[0], FakeEmbedder().embed(exemplars))
    pairs = domain.pairs(vectors)
    assert [(i, text) for i, text, _ in pairs[:2]] in ([(2, "ph"), (0, "a")], [(0, "a"), (2, "ph")])
    assert sorted(i for i, _, _ in pairs) == [0, 1, 2]
    assert domain.pairs(vectors[:1], most=5)[0][:2] == (0, "a")
    assert domain.pairs(vectors[:0]) == []


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ({"a": 0.5, "b": 0.5}, {"a": 0.6, "b": 0.4}, "the recommended weights, not the experts"),
        ({"a": 1.0}, {"b": 0.5, "c": 0.5}, ": *B* and *c* have come in, *A* has gone."),
    ],
)
def test_change_words(before: dict[str, float], after: dict[str, float], said: str) -> None:
    assert said in change_words(before, after, {"a": "A", "b": "B"})
    assert change_words(after, after, {}) == ""


# -- the pool is not read again ----------------------------------------------------------------


def test_cards_are_read_once_until_one_changes(
    services: Services, session_id: str, view: MatchView, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []
    load = ExpertCard.load.__func__  # type: ignore[attr-defined]

    def counting(cls: type[ExpertCard], path: Path) -> ExpertCard:
        read.append(path)
        return load(cls, path)

    services.state(session_id)
    monkeypatch.setattr(ExpertCard, "load", classmethod(counting))
    for _ in range(3):
        services.state(session_id)
        services.match.result(session_id)
        services.experts.list()
    assert read == []
    card = services.pool.get("law").path / "card.json"
    read.clear()
    card.write_text(card.read_text("utf-8") + "\n", "utf-8")
    assert services.state(session_id)["match"] == "done"
    assert read == [card], "the others have not changed"
