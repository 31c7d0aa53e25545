"""Learning from corrections, on a random model: its mechanics, and that it can learn at all."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from experts import learning, learning_outcome, training
from experts.base import BaseModel
from experts.errors import Cancelled, SamError
from experts.evaluate import evaluate
from experts.extract import Extractor
from experts.learning import CorrectionSampler, LearningPlan, learn
from experts.merging.adapters import Adapter, LoraFactors, load_adapter
from experts.spans import Example, Span
from tests.unit import tiny

NAMES = ("Ada", "Grace", "Emmy", "Mary", "Rosa", "Lise")
TYPES = ["person", "ship"]
PLAN = LearningPlan(epochs=30, learning_rate=4e-3, batch=4, absent=1.0)


def sentence(name: str) -> Example:
    return Example(f"{name} met nobody.", (Span(0, len(name), "person"),))


SENTENCES = [sentence(name) for name in NAMES]


def adapter(base: BaseModel, rank: int = 3) -> Adapter:
    """Changes one layer a little."""
    name = "model.layers.0.self_attn.q_proj"
    out, into = base.model.get_submodule(name).weight.shape
    torch.manual_seed(5)
    factors = LoraFactors(torch.randn(rank, into) / 10, torch.randn(out, rank) / 100, 1.0)
    return Adapter("merged", base.name, {name: factors})


def test_it_learns_and_its_estimate_is_of_unseen_sentences(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A random model knows no names, so that no stop is better on unseen ones: take the last.
    monkeypatch.setattr(learning, "micro_f1", lambda gold, found: 1.0)
    base = tiny.llama()
    before = {name: p.clone() for name, p in base.model.named_parameters()}
    start = adapter(base)
    result = learn(base, start, SENTENCES, TYPES, tmp_path, plan=PLAN)
    texts = [e.text for e in SENTENCES]
    found = Extractor(base).extract(texts, TYPES, adapter=start)
    assert result.before == evaluate([e.spans for e in SENTENCES], found)
    learned = load_adapter(tmp_path)
    assert learned.rank == start.rank
    read = Extractor(base).extract(texts, TYPES, adapter=learned)
    assert evaluate([e.spans for e in SENTENCES], read).micro.f1 > 0.9
    assert result.after.micro.f1 < 0.5, "what is learned by heart does not count"
    assert result.gain == pytest.approx(result.after.micro.f1 - result.before.micro.f1)
    assert result.interval[0] <= result.gain <= result.interval[1]
    assert not result.enough, "six sentences tell nothing"
    assert not result.better
    after = dict(base.model.named_parameters())
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_where_nothing_helps_the_adapter_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = tiny.llama()
    start = adapter(base)
    monkeypatch.setattr(learning, "_best_stop", lambda examples, answers, part: 0)
    result = learn(base, start, SENTENCES, TYPES, tmp_path, plan=PLAN)
    assert (result.steps, result.of) == (0, 45)
    assert result.after == result.before
    old, new = start.products(), load_adapter(tmp_path).products()
    for name, (a, b) in old.items():
        torch.testing.assert_close(new[name][1] @ new[name][0], b @ a, rtol=0.02, atol=1e-5)
    changed = [b @ a for name, (a, b) in new.items() if name not in old]
    assert all(not update.any() for update in changed)


def test_nobody_reads_a_sentence_after_learning_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The same sentence twice would else be in both halves.
    sentences = [*SENTENCES, SENTENCES[0], SENTENCES[3]]
    learned: set[str] = set()
    unseen: list[tuple[str, ...]] = []
    made, within = learning.CorrectionSampler, Extractor.extract_within

    def sampler(corrected, *rest):  # type: ignore[no-untyped-def]
        learned.clear()
        learned.update(e.text for e in corrected)
        return made(corrected, *rest)

    def extract(self, adapted, texts, types, **options):  # type: ignore[no-untyped-def]
        if len(texts) < len(sentences):  # else the answers before
            assert not learned & set(texts)
            unseen.append(tuple(texts))
        return within(self, adapted, texts, types, **options)

    monkeypatch.setattr(learning, "CorrectionSampler", sampler)
    monkeypatch.setattr(Extractor, "extract_within", extract)
    base = tiny.llama()
    learn(base, adapter(base), sentences, TYPES, tmp_path, plan=LearningPlan(epochs=2))
    assert len(unseen) == 2 * 3, "three stops of two halves"
    assert Counter(text for texts in unseen for text in texts) == {
        e.text: 3 * sentences.count(e) for e in sentences
    }


def test_the_later_of_two_equal_stops_is_taken() -> None:
    right, wrong = [Span(0, 3, "person")], [Span(0, 2, "person")]
    examples = [sentence("Ada")] * 2
    answers = [[wrong, wrong], [right, wrong], [wrong, right], [wrong, wrong]]
    assert learning._best_stop(examples, answers, [0]) == 1
    assert learning._best_stop(examples, answers, [0, 1]) == 2


def test_gain_and_interval_are_those_of_resampled_sentences() -> None:
    rng = np.random.default_rng(3)
    gold, before, after = [], [], []
    for _ in range(30):
        spans = [Span(i, i + 1, "x") for i in range(6)]
        gold.append([s for s in spans if rng.random() < 0.5])
        before.append([s for s in spans if rng.random() < 0.5])
        after.append([s for s in spans if (s in gold[-1]) == (rng.random() < 0.8)])
    gain, (low, high) = learning_outcome._gain(gold, before, after, seed=1)
    scores = [evaluate(gold, found).micro.f1 for found in (before, after)]
    assert gain == pytest.approx(scores[1] - scores[0])
    draws = np.random.default_rng(1).integers(30, size=(2000, 30))[:200]
    changes = [
        evaluate([gold[i] for i in d], [after[i] for i in d]).micro.f1
        - evaluate([gold[i] for i in d], [before[i] for i in d]).micro.f1
        for d in draws
    ]
    assert low == pytest.approx(np.quantile(changes, 0.025), abs=0.05)
    assert high == pytest.approx(np.quantile(changes, 0.975), abs=0.05)
    same, (low, high) = learning_outcome._gain(gold, before, before, seed=1)
    assert (same, low, high) == (0, 0, 0)


def test_every_sentence_comes_once_an_epoch_and_is_asked_everything() -> None:
    plan = LearningPlan(batch=2, replay=0.5, absent=1.0)
    replay = [Example("Calm sea.", ())]
    sampler = CorrectionSampler(SENTENCES, TYPES, replay, plan)
    assert sampler.epoch == 9
    questions = [q for step in range(9) for q in sampler.step(step, 2)]
    for epoch in (questions[:9], questions[9:]):
        seen = Counter(q.text for q in epoch)
        assert seen == {**{e.text: 1 for e in SENTENCES}, "Calm sea.": 3}
    assert [q.text for q in questions[:9]] != [q.text for q in questions[9:]]
    assert {q.types for q in questions} == {("person", "ship"), ("ship", "person")}
    for question in questions:
        for kind, spans in zip(question.types, question.answers, strict=True):
            assert {s.label for s in spans} <= {kind}
    assert CorrectionSampler(SENTENCES, TYPES, replay, plan).step(4, 2) == sampler.step(4, 2)


def test_a_sentence_is_asked_for_what_it_has_and_at_times_for_what_it_has_not() -> None:
    sampler = CorrectionSampler(SENTENCES, TYPES, [], LearningPlan(absent=0.25))
    questions = [q for step in range(200) for q in sampler.step(step, 4)]
    for question in questions:
        there = {span.label for spans in question.answers for span in spans}
        truth = next(e.spans for e in SENTENCES if e.text == question.text)
        assert there == {span.label for span in truth}
        assert question.types
    lacking = [q for q in questions if sum(map(bool, q.answers)) == 1]
    share = sum(len(q.types) == 2 for q in lacking) / len(lacking)
    assert 0.2 < share < 0.3


def test_entities_of_other_types_are_left_out() -> None:
    example = Example("Ada saw Argo.", (Span(0, 3, "person"), Span(8, 12, "ship")))
    kept = learning.check_corrections([example, *SENTENCES[1:4]], ["ship"])
    assert kept[0] == Example("Ada saw Argo.", (Span(8, 12, "ship"),))
    assert [e.spans for e in kept[1:]] == [()] * 3


@pytest.mark.parametrize(
    ("examples", "types", "said"),
    [
        (SENTENCES[:1], TYPES, "1 corrected sentence is too few"),
        (SENTENCES[:3], TYPES, "3 corrected sentences are too few"),
        (SENTENCES, ["ship"], "no entity of the asked types"),
        (SENTENCES, [], "No entity types"),
        ([*SENTENCES, Example("Ada.", (Span(2, 9, "person"),))], TYPES, "corrected sentence 7"),
        (SENTENCES[:1] * 5, TYPES, "All corrected sentences are the same"),
    ],
)
def test_what_cannot_be_learned_from_is_refused(
    tmp_path: Path, examples: list[Example], types: list[str], said: str
) -> None:
    base = tiny.llama()
    with pytest.raises(SamError, match=said):
        learn(base, adapter(base), examples, types, tmp_path, plan=PLAN)
    assert list(tmp_path.iterdir()) == []


def test_progress_counts_all_runs_and_cancelling_keeps_nothing(tmp_path: Path) -> None:
    base = tiny.llama()
    told: list[tuple[float, float, str]] = []
    plan = LearningPlan(epochs=4, batch=2)
    learn(
        base, adapter(base), SENTENCES, TYPES, tmp_path / "a", plan=plan,
        progress=lambda done, of, said: told.append((done, of, said)),
    )  # fmt: skip
    assert len({of for _, of, _ in told}) == 1
    shares = [done / of for done, of, _ in told]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert list(dict.fromkeys(said for *_, said in told)) == [
        learning.READING, *learning.HALVES, learning.ALL,
    ]  # fmt: skip
    asked = iter(range(100))
    with pytest.raises(Cancelled):
        learn(
            base, adapter(base), SENTENCES, TYPES, tmp_path / "b", plan=plan,
            cancelled=lambda: next(asked) > 8,
        )  # fmt: skip
    assert not (tmp_path / "b").exists()


def test_what_was_cut_off_goes_on_and_ends_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = tiny.llama()
    plan = LearningPlan(epochs=4, batch=2)
    whole = learn(base, adapter(base), SENTENCES, TYPES, tmp_path / "a", plan=plan)
    steps: list[int] = []
    trained = training.train_adapter

    def train(*arguments, **options):  # type: ignore[no-untyped-def]
        watch = options["watch"]

        def count(step: int) -> None:
            steps.append(step)
            watch(step)

        return trained(*arguments, **{**options, "watch": count})

    monkeypatch.setattr(learning, "train_adapter", train)

    def attempt(after: int) -> learning.Learned:
        """Cut off after so many looks."""
        asked = iter(range(10_000))
        return learn(
            base, adapter(base), SENTENCES, TYPES, tmp_path / "b", plan=plan,
            work=tmp_path / "work", cancelled=lambda: next(asked) > after,
        )  # fmt: skip

    for after in (3, 14, 30):
        with pytest.raises(Cancelled):
            attempt(after)
    before, steps[:] = len(steps), []
    result = attempt(9_999)
    assert before > 0
    assert len(steps) < 24, "what was done is not done again"
    assert (result.before, result.after, result.found) == (whole.before, whole.after, whole.found)
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        assert (tmp_path / "b" / name).read_bytes() == (tmp_path / "a" / name).read_bytes()
    assert learning._Kept(tmp_path / "work", "another").answers("before") is None
    assert not (tmp_path / "work" / "all").exists()


def test_what_is_known_is_not_read_again(tmp_path: Path) -> None:
    base = tiny.llama()
    known = [list(e.spans) for e in SENTENCES]
    result = learn(
        base, adapter(base), SENTENCES, TYPES, tmp_path, plan=LearningPlan(epochs=1), before=known
    )
    assert result.found[0] == known
    assert result.before.micro.f1 == 1.0
    assert result.steps == 0, "better than all cannot be"
    assert result.pace > 0


def test_few_sentences_are_read_more_often() -> None:
    epochs = [LearningPlan.for_sentences(n).epochs for n in (4, 10, 20, 50, 100, 1000)]
    assert epochs == [10, 9, 6, 4, 3, 2]
    plan = LearningPlan.for_sentences(20, seed=3)
    assert (plan.epochs, plan.seed) == (6, 3)
    assert plan.work(20, 5) < plan.work(20, 9) < plan.work(40, 9)
    assert plan.work(20, 5, known=True) < plan.work(20, 5)
