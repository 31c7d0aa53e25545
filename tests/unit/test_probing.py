"""The probe as one job: cached answers, shared calls, early stopping, large pools."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import experts.extract
import experts.prompt
from experts.card import ExpertCard
from experts.errors import Cancelled
from experts.extract import Extractor
from experts.merging.adapters import save_adapter
from experts.pool import Expert
from experts.probe import f1_so_far, score_answers
from experts.probing import (
    MAX_PROBED,
    MemoryCache,
    ProbeResult,
    answers_version,
    choose_candidates,
    probe_experts,
    text_hash,
)
from experts.spans import Span
from tests.unit import tiny
from tests.unit.test_extract import random_adapter

TYPES = ["person", "place"]
TEXTS = [f"Sentence {i} names Ada, Grace and Lake Orvenn." for i in range(10)]


def expert(name: str, *, hash: str | None = None, path: Path | None = None) -> Expert:
    card = ExpertCard(
        name=name, title=name, base_model="b", rank=1, hash=f"h-{name}" if hash is None else hash
    )
    return Expert(name, path or Path(name), card, bundled=False)


def pool(count: int) -> list[Expert]:
    return [expert(f"e{i:04}") for i in range(count)]


def places(kind: str) -> tuple[int, int]:
    """Where the two true spans of a type begin, in any sentence; wrong ones are close by."""
    first = 40 * sum(map(ord, kind))
    return first, first + 20


class Skilled:
    """An extractor whose adapters find each true span with a chance of their own.

    Attributes:
        calls: (texts, types, adapters) of each call.
    """

    def __init__(self, skill: Callable[[str], float] = lambda _name: 1.0, seed: int = 0) -> None:
        self.skill, self.seed = skill, seed
        self.calls: list[tuple[tuple[str, ...], tuple[str, ...], list[str]]] = []

    def extract_each(
        self,
        texts: Sequence[str],
        types: Sequence[str],
        adapters: Sequence[Path],
        *,
        progress: Any = None,
        cancelled: Any = None,
    ) -> list[list[list[Span]]]:
        self.calls.append((tuple(texts), tuple(types), [path.name for path in adapters]))
        answers = []
        for number, path in enumerate(adapters):
            answers.append([self.spans(path.name, text, types) for text in texts])
            if progress is not None:
                progress((number + 1) * len(texts), len(adapters) * len(texts))
        return answers

    def spans(self, name: str, text: str, types: Sequence[str]) -> list[Span]:
        found = []
        for kind in types:
            draw = random.Random(f"{self.seed} {name} {text_hash(text)} {kind}")
            for start in places(kind):
                right = draw.random() < self.skill(name)
                place = start if right else start + 1 + draw.randrange(15)
                found.append(Span(place, place + 3, kind, 0.5))
        return sorted(found)

    @property
    def pairs(self) -> int:
        """Expert × sentence extractions."""
        return sum(len(texts) * len(adapters) for texts, _, adapters in self.calls)


GOLD = [tuple(Span(start, start + 3, kind) for kind in TYPES for start in places(kind))] * 10


def run(
    extractor: Any,
    experts: Sequence[Expert],
    cache: Any = None,
    *,
    texts: Sequence[str] = TEXTS,
    types: Sequence[str] = TYPES,
    version: str = "v",
    **options: Any,
) -> ProbeResult:
    cache = MemoryCache() if cache is None else cache
    return probe_experts(
        lambda: extractor, experts, texts, types, version=version, cache=cache, **options
    )


def never() -> Any:
    raise AssertionError("the models are not needed")


# ---- the cache ----


def test_answers_from_the_cache_are_those_of_the_extractor(tmp_path: Path) -> None:
    base = tiny.gemma()
    experts = []
    for seed in range(3):
        folder = tmp_path / f"e{seed}"
        save_adapter(random_adapter(base, seed), folder, dtype=torch.float32, base_model=base.name)
        experts.append(expert(f"e{seed}", path=folder))
    extractor, cache = Extractor(base), MemoryCache()
    types = ["political party", "gene", "person", "gene"]
    run(extractor, experts, cache, texts=tiny.TEXTS[:3], types=[*types[2:], types[0]])
    result = run(extractor, experts, cache, texts=tiny.TEXTS, types=types)
    assert result.extracted == 2 * 3  # of the other texts; in another order types are the same
    overlaps = 0
    for one in experts:
        asked = types[:3]
        expected = extractor.extract(tiny.TEXTS, asked, adapter=one.path)
        raw = extractor.extract(tiny.TEXTS, asked, adapter=one.path, overlapping=True)
        overlaps += sum(map(len, raw)) - sum(map(len, expected))
        for mine, spans in zip(result.answers[one.name], expected, strict=True):
            assert mine is not None
            assert [s.key for s in mine] == [s.key for s in spans]
            assert [s.score for s in mine] == pytest.approx([s.score for s in spans], rel=1e-3)
    assert overlaps > 0  # types that overlap were there to be settled
    again = probe_experts(never, experts, tiny.TEXTS, types, version="v", cache=cache)
    assert again.answers == result.answers
    assert again.scores == result.scores
    assert again.extracted == 0


def test_another_sentence_or_expert_costs_that_one_alone_and_another_type_everything() -> None:
    extractor, cache, experts = Skilled(), MemoryCache(), pool(3)
    names = [e.name for e in experts]
    first = run(extractor, experts, cache, texts=TEXTS[:2])
    assert extractor.calls == [(tuple(TEXTS[:2]), tuple(TYPES), names)]
    assert first.extracted == 6

    run(extractor, experts, cache, texts=TEXTS[:2], types=["river", *TYPES])
    assert extractor.calls[1:] == [(tuple(TEXTS[:2]), ("river", *TYPES), names)]

    run(extractor, [*experts, expert("new")], cache, texts=TEXTS[:3])
    assert extractor.calls[2:] == [
        ((TEXTS[2],), tuple(TYPES), names),
        (tuple(TEXTS[:3]), tuple(TYPES), ["new"]),
    ]
    run(extractor, [*experts, expert("new")], cache, texts=TEXTS[:3])
    assert len(extractor.calls) == 4


def test_a_changed_expert_or_version_is_asked_anew() -> None:
    extractor, cache = Skilled(), MemoryCache()
    run(extractor, [expert("a")], cache)
    run(extractor, [expert("a", hash="other")], cache)
    run(extractor, [expert("a")], cache, version="w")
    assert len(extractor.calls) == 3
    run(extractor, [expert("copy", hash="h-a")], cache)  # the same adapter by another name
    assert len(extractor.calls) == 3


def test_an_expert_without_a_hash_is_never_cached() -> None:
    extractor, cache = Skilled(), MemoryCache()
    experts = [expert("a", hash=""), expert("b", hash="")]
    first = run(extractor, experts, cache)
    assert run(extractor, experts, cache).answers == first.answers
    assert [adapters for _, _, adapters in extractor.calls] == [["a", "b"], ["a", "b"]]


def test_a_sentence_that_repeats_is_read_once() -> None:
    extractor = Skilled()
    result = run(extractor, pool(2), texts=["Ada", "Ada", "\ud800"])
    assert extractor.calls[0][0] == ("Ada", "\ud800")
    assert result.answers["e0000"][0] == result.answers["e0000"][1]
    assert text_hash("Ada") != text_hash("ada")


def test_the_version_names_all_that_answers_depend_on(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {"base": "b", "dtype": "float32"}
    versions = {answers_version(**asked)}
    for change in (
        {"base": "c"},
        {"dtype": "bfloat16"},
        {"quantisation": "int8"},
        {"none_bias": 0.5},
    ):
        versions.add(answers_version(**{**asked, **change}))
    with monkeypatch.context() as patch:
        patch.setattr(experts.extract, "DECODER_VERSION", -1)
        versions.add(answers_version(**asked))
    with monkeypatch.context() as patch:
        patch.setattr(experts.prompt, "PROMPT_VERSION", -1)
        versions.add(answers_version(**asked))
    assert len(versions) == 7
    assert answers_version(**asked) in versions


def test_a_cancelled_probe_loses_its_current_chunk_only() -> None:
    extractor, cache, experts = Skilled(), MemoryCache(), pool(20)
    with pytest.raises(Cancelled):
        run(extractor, experts, cache, cancelled=lambda: len(extractor.calls) == 1)
    ((texts, _, done),) = extractor.calls
    assert done == [e.name for e in experts[:16]]
    run(extractor, experts, cache, similarities={e.name: 1.0 for e in experts})
    repeated = [c for c in extractor.calls[1:] if set(c[0]) & set(texts) and set(c[2]) & set(done)]
    assert repeated == []


def test_progress_goes_up_to_the_end() -> None:
    told: list[tuple[int, int, int]] = []
    run(
        Skilled(lambda name: int(name[1:]) / 40),
        pool(40),
        gold=GOLD,
        progress=lambda done, total, reading: told.append((done, total, reading)),
    )
    done = [d for d, _, _ in told]
    assert done == sorted(done)
    assert {total for _, total, _ in told} == {400}
    assert done[-1] == 400
    assert [r for i, (_, _, r) in enumerate(told) if not i or told[i - 1][2] != r] == [40, 20, 10]


# ---- early stopping ----


def test_a_small_pool_reads_everything() -> None:
    extractor = Skilled(lambda name: int(name[1:]) / 16)
    result = run(extractor, pool(16), gold=GOLD)
    assert result.stopped == frozenset()
    assert {score.sentences for score in result.scores.values()} == {10}
    assert len(extractor.calls) == 1


def test_the_worse_half_of_a_large_pool_is_stopped_and_said_so() -> None:
    extractor = Skilled(lambda name: int(name[1:]) / 40)
    result = run(extractor, pool(40), gold=GOLD, k=3)
    read = {name: score.sentences for name, score in result.scores.items()}
    assert sorted(read.values()) == [4] * 20 + [7] * 10 + [10] * 10
    assert result.stopped == {name for name, sentences in read.items() if sentences < 10}
    assert extractor.pairs == result.extracted == 20 * 4 + 10 * 7 + 10 * 10
    early = [n for n, s in read.items() if s == 4]
    assert [i for i, spans in enumerate(result.answers[early[0]]) if spans is not None] == [
        0,
        3,
        6,
        9,
    ]
    assert all(result.scores[name].support > 0 for name in early)
    assert "e0039" not in result.stopped
    assert "e0000" in result.stopped


@pytest.mark.parametrize(("k", "finish"), [(1, 8), (5, 10), (20, 17)])
def test_enough_experts_finish(k: int, finish: int) -> None:
    result = run(Skilled(lambda name: int(name[1:]) / 17), pool(17), gold=GOLD, k=k)
    assert 17 - len(result.stopped) == finish


def test_nobody_is_stopped_on_a_handful_of_spans() -> None:
    gold = [(Span(0, 3, TYPES[0]),), *[()] * 9]
    result = run(Skilled(lambda _name: 0.0), pool(20), gold=gold)
    assert result.stopped == frozenset()


def test_equal_scores_are_told_apart_by_similarity() -> None:
    experts = pool(20)
    near = {e.name: float(i) for i, e in enumerate(experts)}
    result = run(Skilled(), experts, gold=GOLD, similarities=near)
    assert set(near) - result.stopped == {e.name for e in experts[-8:]}


def test_an_expert_is_scored_on_what_it_has_read() -> None:
    ada, bob = Span(0, 3, "person"), Span(4, 7, "person")
    answers = {"a": [[ada], [bob]], "b": [[ada], [bob]], "c": [[], None], "d": [[], None]}
    scores = score_answers(answers, ["person"])
    assert (scores["a"].support, scores["a"].f1, scores["a"].sentences) == (2, 1.0, 2)
    assert (scores["c"].support, scores["c"].f1, scores["c"].sentences) == (1, 0.0, 1)
    assert f1_so_far(answers)["c"].support == 1
    lonely = {"a": [[ada], [bob]], "b": [[ada], None]}
    assert score_answers(lonely, ["person"])["a"].support == 1  # nobody else read the second


# ---- large pools ----


def test_candidates_of_a_small_pool_are_all() -> None:
    near = {f"e{i}": -float(i) for i in range(MAX_PROBED)}
    assert choose_candidates(near) == list(near)
    assert choose_candidates({}) == []


def test_candidates_of_a_large_pool_are_the_nearest_and_the_named() -> None:
    near = {f"e{i:03}": i / 1000 for i in range(200)}
    chosen = choose_candidates(near, always=["e005", "unknown"])
    assert chosen == ["e005", *(f"e{i:03}" for i in range(200 - MAX_PROBED, 200))]


@given(
    st.dictionaries(st.text("abc", min_size=1, max_size=3), st.floats(-1, 1), max_size=30),
    st.integers(0, 35),
    st.lists(st.text("abc", min_size=1, max_size=2), max_size=3),
)
def test_candidates_are_bounded_and_never_less_similar(
    near: dict[str, float], most: int, always: list[str]
) -> None:
    chosen = choose_candidates(near, most=most, always=always)
    asked = {name for name in always if name in near}
    assert asked <= set(chosen) <= set(near)
    assert min(most, len(near)) <= len(chosen) <= most + len(asked)
    left = [near[name] for name in near if name not in chosen]
    taken = [near[name] for name in chosen if name not in asked]
    assert not left or not taken or max(left) <= min(taken)
    assert chosen == [name for name in near if name in chosen]


@pytest.mark.parametrize("labelled", [True, False])
def test_a_thousand_experts_cost_a_bounded_probe_that_keeps_the_best(labelled: bool) -> None:
    experts = pool(1000)
    first, kept, regret, seeds = 0, 0, [], range(10)
    for seed in seeds:
        draw = random.Random(seed)
        # Similarity tells something of the skill, but not all.
        skill = {e.name: 0.1 + 0.8 * draw.random() for e in experts}
        near = {name: value + draw.gauss(0, 0.6) for name, value in skill.items()}
        names = choose_candidates(near)
        assert len(names) == MAX_PROBED
        extractor = Skilled(skill.__getitem__, seed)
        candidates = [e for e in experts if e.name in set(names)]
        result = run(extractor, candidates, gold=GOLD if labelled else None, similarities=near, k=3)
        assert extractor.pairs == result.extracted <= 24 * 4 + 12 * 7 + 12 * 10
        finished = set(names) - result.stopped
        best = sorted(names, key=lambda name: -skill[name])[:3]
        first += best[0] in finished
        kept += len(finished.intersection(best))
        regret.append(skill[best[0]] - max(skill[name] for name in finished))
    # 16 spans in the first round are few: of experts that are as good as each other, any may go.
    assert first >= 0.8 * len(seeds)
    assert kept >= 0.7 * 3 * len(seeds)
    assert max(regret) < 0.02
