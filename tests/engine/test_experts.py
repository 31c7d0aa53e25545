"""The bundled experts: what is promised of them, and what they find in our sample texts."""

from __future__ import annotations

import numpy as np

from experts.evaluate import evaluate
from experts.merging.adapters import content_hash, load_adapter
from experts.pool import Pool
from experts.prompt import split_words
from experts.spans import Example, Span
from sam_ui.services.engine import Engine

FORBIDDEN = ("NC", "non-commercial", "none stated", "research only")


def labels(examples: list[Example]) -> list[str]:
    return sorted({span.label for example in examples for span in example.spans})


def assert_valid(texts: list[str], types: list[str], found: list[list[Span]]) -> None:
    assert len(found) == len(texts)
    for text, spans in zip(texts, found, strict=True):
        words = split_words(text)
        starts, ends = {w.start for w in words}, {w.end for w in words}
        for span in spans:
            assert span.label in types
            assert span.start in starts
            assert span.end in ends
            assert span.score is not None
            assert 0 < span.score <= 1


def test_the_pool_is_what_the_documents_say(pool: Pool) -> None:
    experts = [expert for expert in pool.list() if expert.bundled]
    assert len(experts) >= 6
    size = sum(f.stat().st_size for e in experts for f in e.path.iterdir())
    assert size < 40_000_000
    assert len({expert.card.title for expert in experts}) == len(experts)
    for expert in experts:
        card = expert.card
        assert card.sentences >= 2000
        assert card.base_model == "google/gemma-3-270m"
        assert "Q4_K_M" in card.base_note
        assert card.types
        assert card.dev_f1 is not None
        assert card.dev_f1 > 0.3, expert.name
        assert not any(word in data.licence for data in card.data for word in FORBIDDEN)
        assert card.hash == content_hash(load_adapter(expert.path, name=expert.name))
        vectors = expert.exemplar_vectors()
        assert vectors.shape == (len(card.exemplars), len(card.mean))
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-2)


def test_experts_find_types_that_they_never_saw(
    engine: Engine, pool: Pool, samples: dict[str, list[Example]]
) -> None:
    examples = samples["lake_sediments"]
    texts, types = [e.text for e in examples], labels(examples)
    gold = [e.spans for e in examples]
    bare = engine.predict(texts, types, [None])
    expert = engine.predict(texts, types, [pool.get("encyclopedia").path])
    assert_valid(texts, types, bare)
    assert_valid(texts, types, expert)
    assert evaluate(gold, expert).micro.f1 > evaluate(gold, bare).micro.f1 + 0.1


def test_the_asked_types_decide_what_is_found(
    engine: Engine, pool: Pool, samples: dict[str, list[Example]]
) -> None:
    texts = [e.text for e in samples["museum_catalogue"]]
    path = pool.get("encyclopedia").path
    artists = engine.predict(texts, ["artist"], [path])
    museums = engine.predict(texts, ["museum"], [path])
    assert {s.label for spans in artists for s in spans} == {"artist"}
    assert {s.label for spans in museums for s in spans} == {"museum"}
    found = [{(i, s.start) for i, spans in enumerate(x) for s in spans} for x in (artists, museums)]
    assert len(found[0] & found[1]) < 0.5 * min(map(len, found))
