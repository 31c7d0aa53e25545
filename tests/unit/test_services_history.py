"""The history of merges: names, scores, comparisons, deleting and bringing back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from db.records import NewSpan
from experts.errors import SamError
from experts.spans import Span
from sam_ui.jobs.worker import Worker
from sam_ui.services import Services
from sam_ui.services.merge_bin import KEPT, OFFERED
from sam_ui.services.views import EntityType
from sam_ui.settings import Settings
from sam_ui.steps.merge_compare import comparison_html
from sam_ui.steps.merge_history import history_html, score_html
from tests.unit.fakes import FakeEngine, make_pool

TEXT = "Ada met Grace in Paris. It rained all day. Bob left early. Eve saw Orion."
ASTRO, LAW = {"astro": 1.0}, {"law": 1.0}


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    settings = Settings(data_dir=tmp_path / "data", _env_file=None)  # type: ignore[call-arg]
    services = Services(settings, pool=make_pool(tmp_path / "pool"))
    yield services
    services.close()


@pytest.fixture
def worker(services: Services) -> Worker:
    return Worker(services, FakeEngine(services.settings, services.pool), name="w")


@pytest.fixture
def session_id(services: Services) -> str:
    session = services.sessions.create("Lake sediments")
    services.corpus.add_text(session.id, TEXT)
    services.types.set(session.id, [EntityType("person")])
    return session.id


def merged(
    services: Services, session_id: str, worker: Worker, weights: dict[str, float], **how: object
) -> str:
    services.merge.start(session_id, weights, **how)  # type: ignore[arg-type]
    assert worker.run_one()
    return services.merge.list(session_id)[0].id


def found(services: Services, session_id: str, merge_id: str, spans: dict[str, list[Span]]) -> None:
    """Store that a merge found these spans, by sentence."""
    session = services.store.session(session_id)
    ids = {s.text: s.id for s in services.store.corpus.sentences(session_id)}
    services.store.predictions.replace(
        session_id,
        merge_id,
        [
            NewSpan(ids[text], s.start, s.end, s.label, s.score)
            for text in spans
            for s in spans[text]
        ],
        corpus_revision=session.corpus_revision,
        types_revision=session.types_revision,
    )


def test_a_deleted_merge_comes_back_with_all_that_was_its(
    services: Services, session_id: str, worker: Worker
) -> None:
    merge_id = merged(services, session_id, worker, ASTRO)
    before = services.merge.get(session_id, merge_id)
    page = services.predict.page(session_id, merge_id=merge_id)
    zipped = services.share.adapter_zip(session_id)
    services.merge.delete(session_id, merge_id)
    assert services.merge.list(session_id) == []
    assert services.predict.page(session_id) is None
    assert not zipped.exists()
    (offered,) = services.merge.deleted(session_id)
    assert (offered.id, offered.label) == (merge_id, before.label)

    assert services.merge.restore(session_id, merge_id) == before.label
    assert services.merge.get(session_id, merge_id) == before
    assert services.predict.page(session_id, merge_id=merge_id) == page
    assert zipped.exists()
    record = services.store.merge(session_id, merge_id)
    assert record is not None
    assert services.store.adapter_paths(record)
    assert services.merge.deleted(session_id) == []
    with pytest.raises(SamError, match="cannot be brought back"):
        services.merge.restore(session_id, merge_id)


def test_what_was_found_in_sentences_that_are_gone_stays_gone(
    services: Services, session_id: str, worker: Worker
) -> None:
    (upload,) = services.corpus.files(session_id)
    services.corpus.add_text(session_id, "Zoe stayed.")
    merge_id = merged(services, session_id, worker, ASTRO)
    services.merge.delete(session_id, merge_id)
    services.corpus.remove_file(session_id, upload.id)
    services.merge.restore(session_id, merge_id)
    assert services.merge.scores(session_id)[merge_id].entities == 1


def test_only_the_last_deleted_are_kept_and_only_for_a_while(
    services: Services, session_id: str, worker: Worker
) -> None:
    ids = [merged(services, session_id, worker, {"astro": 1.0, "law": n}) for n in (1.0, 2, 3, 4)]
    for merge_id in ids:
        services.merge.delete(session_id, merge_id)
    assert [each.id for each in services.merge.deleted(session_id)] == ids[::-1][:KEPT]
    folder = services.settings.session_dir(session_id) / "deleted-merges"
    kept = json.loads((folder / ids[-1] / "merge.json").read_text("utf-8"))
    kept["deleted_at"] = (datetime.now(UTC) - OFFERED - timedelta(seconds=1)).isoformat()
    (folder / ids[-1] / "merge.json").write_text(json.dumps(kept), "utf-8")
    (folder / ids[-2] / "merge.json").write_text("{", "utf-8")  # the disk was full
    assert [each.id for each in services.merge.deleted(session_id)] == [ids[1]]
    services.queue.submit(None, "tidy", {})
    assert worker.run_one()
    assert [path.name for path in folder.iterdir()] == [ids[1]]


def test_a_merge_is_renamed(services: Services, session_id: str, worker: Worker) -> None:
    merge_id = merged(services, session_id, worker, ASTRO)
    services.merge.rename(session_id, merge_id, "  The\tcareful\none ")
    assert services.merge.get(session_id, merge_id).label == "The careful one"
    with pytest.raises(SamError, match="needs a name"):
        services.merge.rename(session_id, merge_id, " \n")
    other = services.sessions.create().id
    for refused in (services.merge.rename, services.merge.delete):
        with pytest.raises(SamError, match="does not exist"):
            refused(other, merge_id, *["x"] * (refused == services.merge.rename))
    page = history_html(services.merge.list(session_id), {}, services.merge.methods())
    assert 'value="The careful one"' in page


def test_scores_follow_corrections(services: Services, session_id: str, worker: Worker) -> None:
    merge_id = merged(services, session_id, worker, ASTRO)
    assert services.merge.scores(session_id)[merge_id].truth is None
    sentence = services.store.corpus.sentences(session_id)[0]
    assert sentence.text == "Ada met Grace in Paris."
    services.corrections.put(session_id, sentence.id, [Span(0, 3, "person"), Span(8, 13, "person")])
    score = services.merge.scores(session_id)[merge_id]
    assert score.truth is not None
    assert (score.truth.tp, score.truth.fp, score.truth.fn, score.sentences) == (2, 1, 0, 1)
    assert "too few to tell" in score_html(score)
    assert "found 2 of 2 entities, 1 wrong, on 1 known sentence" in score_html(score)

    everything = {s.id: s.text for s in services.store.corpus.sentences(session_id)}
    names = {"Ada", "Grace", "Bob", "Eve", "Orion"}
    for ident, text in everything.items():
        spans = [
            Span(text.index(name), text.index(name) + len(name), "person")
            for name in sorted(names, key=text.find)
            if name in text
        ]
        services.corrections.put(session_id, ident, spans)
    found(services, session_id, merge_id, {"Bob left early.": [Span(0, 3, "person", 0.9)]})
    score = services.merge.scores(session_id)[merge_id]
    assert score.truth is not None
    assert (score.truth.tp, score.truth.fn, score.entities) == (1, 4, 1)


def test_known_entities_of_other_types_say_nothing(
    services: Services, session_id: str, worker: Worker
) -> None:
    line = {"text": "Ann saw Rome.", "entities": [{"start": 8, "end": 12, "label": "city"}]}
    services.corpus.add_files(session_id, [("a.jsonl", json.dumps(line).encode())])
    services.types.set(session_id, [EntityType("person")])
    merge_id = merged(services, session_id, worker, ASTRO)
    assert services.merge.scores(session_id)[merge_id].truth is None
    services.types.set(session_id, [EntityType("city"), EntityType("person")])
    merge_id = merged(services, session_id, worker, LAW)
    truth = services.merge.scores(session_id)[merge_id].truth
    assert truth is not None
    assert (truth.tp, truth.fp, truth.fn) == (1, 1, 0)  # the stand-in calls both cities


def test_without_truth_the_experts_are_the_measure(
    services: Services, session_id: str, worker: Worker
) -> None:
    services.match.start(session_id)
    assert worker.run_one()
    merge_id = merged(services, session_id, worker, ASTRO)
    agreement = services.merge.scores(session_id)[merge_id].agreement
    assert agreement is not None
    assert (agreement.f1, agreement.sentences, agreement.experts) == (1.0, 4, 3)
    found(services, session_id, merge_id, {"Bob left early.": [Span(0, 3, "person", 0.9)]})
    agreement = services.merge.scores(session_id)[merge_id].agreement
    assert agreement is not None
    assert agreement.f1 == pytest.approx(2 / (1 + 7))  # 1 of the experts' 7
    services.types.set(session_id, [EntityType("city")])
    assert services.merge.scores(session_id)[merge_id].agreement is None


def test_two_merges_side_by_side(services: Services, session_id: str, worker: Worker) -> None:
    first = merged(services, session_id, worker, ASTRO, method="ties")
    second = merged(services, session_id, worker, LAW)
    found(services, session_id, second, {"Bob left early.": [Span(0, 3, "person", 0.2)],
                                         "It rained all day.": [Span(3, 9, "person")]})  # fmt: skip
    view = services.merge.side_by_side.view(session_id, first, second)
    assert view.lacking == ()
    assert (view.total, view.differing) == (4, 3)
    assert (view.both, view.only_first, view.only_second) == (1, 6, 1)  # scores do not matter
    rain = next(row for row in view.sentences if row.text.startswith("It"))
    assert [span.key for span in rain.only_first] == [(0, 2, "person")]
    assert [span.key for span in rain.only_second] == [(3, 9, "person")]
    html = comparison_html(view, {}, services.merge.methods(), {"person": "#a6d8f0"})
    assert "<td>TIES</td><td>Weighted sum</td>" in html
    assert "they read 1 alike (25 %)" in html
    assert "only B" in html
    beyond = services.merge.side_by_side.view(session_id, first, second, offset=500)
    assert beyond.sentences == view.sentences
    with pytest.raises(SamError, match="does not exist"):
        services.merge.side_by_side.view(session_id, first, "gone")


def test_a_merge_that_has_not_read_reads_a_few_sentences(
    services: Services, session_id: str, worker: Worker
) -> None:
    first = merged(services, session_id, worker, ASTRO)
    second = merged(services, session_id, worker, LAW, predict=False)
    compare = services.merge.side_by_side
    assert compare.view(session_id, first, second).lacking == (second,)
    compare.start(session_id, [second])
    assert compare.running(session_id)
    assert worker.run_one()
    view = compare.view(session_id, first, second)
    assert (view.lacking, view.total, view.differing) == ((), 4, 0)
    assert not services.merge.get(session_id, second).predicted
    services.types.set(session_id, [EntityType("city")])
    assert compare.view(session_id, first, second).lacking == (second,)


def test_a_preview_knows_what_it_was_asked_for(
    services: Services, session_id: str, worker: Worker
) -> None:
    services.preview.start(session_id, ASTRO, rank=8)
    assert worker.run_one()
    view = services.preview.result(session_id)
    assert view is not None
    assert view.asked == services.preview.asked(ASTRO, rank=8)
    assert view.asked != services.preview.asked(ASTRO)
    shown = [row.text for row in view.sentences]
    assert services.preview.has_others(session_id)
    services.preview.others(session_id)
    assert services.preview.result(session_id) is None, "it was of other sentences"
    services.preview.start(session_id, ASTRO)
    assert worker.run_one()
    view = services.preview.result(session_id)
    assert view is not None
    assert [row.text for row in view.sentences] == ["Eve saw Orion."]
    services.preview.others(session_id)  # after the last the first again
    services.preview.start(session_id, ASTRO)
    assert worker.run_one()
    view = services.preview.result(session_id)
    assert view is not None
    assert [row.text for row in view.sentences] == shown
