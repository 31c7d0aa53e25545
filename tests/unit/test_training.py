"""The mechanics of training, on a random model: what it learns is judged in tests/engine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from experts.errors import Cancelled, SamError
from experts.head import CandidateHead, decoder_of
from experts.merging.adapters import load_adapter
from experts.packing import pack
from experts.prompt import Prompter
from experts.reading import PackedReader, PlainReader
from experts.recipes import CorpusRecipe, TrainingRecipe, load_recipe
from experts.sampling import Question, Sampler
from experts.spans import Span
from experts.training import build_row, packed_loss, train_adapter
from tests.unit import tiny

RECORDS = [
    ("Ada met Grace in Paris.", [(0, 3, "person"), (8, 13, "person"), (17, 22, "place")]),
    ("Nobody was there.", []),
    ("Rome and Paris are far away.", [(0, 4, "place"), (9, 14, "place")]),
    ("The Argo left Rome.", [(4, 8, "ship"), (14, 18, "place")]),
]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data" / "tales"
    folder.mkdir(parents=True)
    for split in ("train", "dev"):
        lines = [
            json.dumps(
                {"text": t, "entities": [{"start": s, "end": e, "label": x} for s, e, x in spans]}
            )
            for t, spans in RECORDS
        ]
        (folder / f"{split}.jsonl").write_text("\n".join(lines), "utf-8")
    return tmp_path / "data"


def recipe(**changes: object) -> TrainingRecipe:
    corpus = CorpusRecipe(
        corpus="tales", licence="CC0", source="us", types={"person": ["person", "somebody"]}
    )
    fields = {"name": "tales", "title": "Tales", "description": "", "data": [corpus]}
    fields |= {"sentences": 64, "batch": 4, "rank": 2, "alpha": 4.0, "learning_rate": 2e-3}
    return TrainingRecipe(**(fields | changes))  # type: ignore[arg-type]


def test_the_same_step_asks_the_same_questions(data: Path) -> None:
    sampler = Sampler(recipe(), data)
    assert sampler.step(3, 8) == Sampler(recipe(), data).step(3, 8)
    assert sampler.step(3, 8) != sampler.step(4, 8)


def test_the_asked_types_vary(data: Path) -> None:
    questions = [q for step in range(40) for q in Sampler(recipe(), data).step(step, 4)]
    asked = {q.types for q in questions if q.text.startswith("Ada")}
    assert len(asked) > 5
    names = {name for types in asked for name in types}
    assert names == {"person", "somebody", "place", "ship"}
    assert any("ship" in types for types in asked), "types that the sentence lacks are asked too"
    assert any("place" not in types for types in asked), "types that it has are dropped at times"
    for question in questions:
        for name, spans in zip(question.types, question.answers, strict=True):
            labels = {"person" if name == "somebody" else name}
            assert {span.label for span in spans} <= labels


def test_sentences_without_entities_keep_their_share(data: Path) -> None:
    sampler = Sampler(recipe(empty_rate=0.5), data)
    texts = [q.text for step in range(100) for q in sampler.step(step, 4)]
    share = sum(text.startswith("Nobody") for text in texts) / len(texts)
    assert 0.15 < share < 0.35, "a quarter of the corpus is empty, so no more than that is drawn"


def test_unknown_types_and_missing_corpora_are_named(data: Path) -> None:
    wrong = recipe(
        data=[CorpusRecipe(corpus="tales", licence="", source="", types={"dragon": ["dragon"]})]
    )
    with pytest.raises(SamError, match=r"'dragon'.*tales"):
        Sampler(wrong, data)
    missing = recipe(data=[CorpusRecipe(corpus="myths", licence="", source="")])
    with pytest.raises(SamError, match=r"myths"):
        Sampler(missing, data)


@pytest.mark.parametrize("reader_of", [PackedReader, PlainReader])
def test_packed_branches_equal_branches_alone(reader_of: type[PackedReader | PlainReader]) -> None:
    base = tiny.gemma()
    prompter = Prompter(base.tokenizer)
    prefix = prompter.prefix(prompter.text(tiny.TEXTS[0]))
    branches = [prompter.query(name) for name in ("gene", "political party", "person")]
    other = pack(prompter.prefix(prompter.text("York")), [prompter.query("place")])
    row = pack(prefix, branches)
    decoder = decoder_of(base.model)
    reader = reader_of(base)
    with torch.inference_mode():
        with reader.reading():
            packed = reader.read_through([other, row])[len(other.tokens) :]
        assert len(packed) == len(row.tokens)
        for branch, (begin, end) in zip(branches, row.bounds, strict=True):
            alone = decoder(input_ids=torch.tensor([[*prefix, *branch]])).last_hidden_state[0]
            torch.testing.assert_close(
                packed[begin:end], alone[len(prefix) :], rtol=1e-4, atol=1e-4
            )


def test_candidate_logits_are_the_models_own() -> None:
    base = tiny.gemma(final_logit_softcapping=3.0)
    ids = torch.tensor([[1, 20, 30, 40]])
    candidates = torch.tensor([5, 17, 200])
    with torch.inference_mode():
        full = base.model(ids).logits[0]
        hidden = decoder_of(base.model)(input_ids=ids).last_hidden_state[0]
        mine = CandidateHead(base.model).logits(hidden, candidates)
    torch.testing.assert_close(mine, full[:, candidates].float(), rtol=1e-4, atol=1e-4)


def test_loss_counts_answer_tokens_only() -> None:
    base = tiny.llama()
    prompter = Prompter(base.tokenizer)
    question = Question("Ada met Grace.", ("person", "ship"), ((Span(0, 3, "person"),), ()))
    target = build_row(prompter, question)
    assert target is not None
    answers = [
        *prompter.answer(prompter.text(question.text), question.answers[0]),
        *prompter.answer(prompter.text(question.text), ()),
    ]
    assert [target.row.tokens[i + 1] for i in target.predict] == answers
    loss, count = packed_loss(
        PackedReader(base),
        CandidateHead(base.model),
        [target],
        torch.Generator().manual_seed(0),
    )
    assert count == len(answers)
    assert float(loss.detach()) > 0


def test_both_readers_have_the_same_gradients() -> None:
    question = Question("Ada met Grace.", ("person", "ship"), ((Span(0, 3, "person"),), ()))
    gradients = []
    for reader_of in (PackedReader, PlainReader):
        base = tiny.gemma()
        target = build_row(Prompter(base.tokenizer), question)
        assert target is not None
        head, seeded = CandidateHead(base.model), torch.Generator().manual_seed(0)
        packed_loss(reader_of(base), head, [target, target], seeded)[0].backward()
        gradients.append({n: p.grad for n, p in base.model.named_parameters()})
    for name, gradient in gradients[0].items():
        if gradient is not None and "embed" not in name:
            torch.testing.assert_close(gradient, gradients[1][name], rtol=1e-3, atol=1e-3)


def train(
    tmp_path: Path, data: Path, name: str, **options: object
) -> tuple[Path, dict[str, float]]:
    out = tmp_path / name
    out.mkdir(exist_ok=True)
    plan = recipe()
    base = tiny.llama()
    result = train_adapter(base, plan, Sampler(plan, data), out, **options)  # type: ignore[arg-type]
    return out, result


def test_training_lowers_the_loss_and_leaves_the_base_alone(tmp_path: Path, data: Path) -> None:
    losses: list[float] = []
    plan = recipe(sentences=200)
    base = tiny.llama()
    before = {n: p.clone() for n, p in base.model.named_parameters()}
    out = tmp_path / "out"
    out.mkdir()
    train_adapter(base, plan, Sampler(plan, data), out, progress=lambda p: losses.append(p.loss))
    assert losses[-1] < 0.8 * losses[0]
    after = dict(base.model.named_parameters())
    assert before.keys() == after.keys()
    assert all(torch.equal(before[n], after[n]) for n in before)
    config = json.loads((out / "adapter_config.json").read_text("utf-8"))
    assert config["base_model_name_or_path"] == "tiny/llama"
    assert {f.dtype for f in (x.a for x in load_adapter(out).modules.values())} == {torch.float32}


def test_a_resumed_run_ends_as_an_unbroken_one(tmp_path: Path, data: Path) -> None:
    whole, _ = train(tmp_path, data, "whole")
    asked = 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > 7

    with pytest.raises(Cancelled):
        train(tmp_path, data, "broken", cancelled=stop)
    assert (tmp_path / "broken" / ".checkpoint" / "state.json").is_file()
    resumed, _ = train(tmp_path, data, "broken", resume=True)
    first, second = load_adapter(whole), load_adapter(resumed)
    for name, factors in first.modules.items():
        torch.testing.assert_close(factors.a, second.modules[name].a, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(factors.b, second.modules[name].b, rtol=1e-3, atol=1e-3)
    assert not (resumed / ".checkpoint").exists()


def test_a_checkpoint_of_another_recipe_is_refused(tmp_path: Path, data: Path) -> None:
    with pytest.raises(Cancelled):
        train(tmp_path, data, "x", cancelled=lambda: True)
    plan = recipe(seed=5)
    with pytest.raises(SamError, match="another recipe"):
        train_adapter(tiny.llama(), plan, Sampler(plan, data), tmp_path / "x", resume=True)


def test_recipe_files(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    with pytest.raises(SamError, match="no recipe file"):
        load_recipe(path)
    path.write_text("name = ", "utf-8")
    with pytest.raises(SamError, match="not a TOML file"):
        load_recipe(path)
    path.write_text('name = "x"\ntitle = ""\ndescription = ""\nspeed = 3\ndata = []', "utf-8")
    with pytest.raises(SamError, match=r"'(speed|data)' is wrong"):
        load_recipe(path)


@pytest.mark.parametrize(
    "path", sorted(Path("assets/recipes").glob("*.toml")), ids=lambda p: p.stem
)
def test_our_recipes_are_valid_and_their_data_may_be_passed_on(path: Path) -> None:
    plan = load_recipe(path)
    assert plan.name == path.stem
    assert plan.sentences >= (1000 if plan.start else 2000)
    for corpus in plan.data:
        assert not any(word in corpus.licence for word in ("NC", "none", "unknown"))
        assert corpus.source
