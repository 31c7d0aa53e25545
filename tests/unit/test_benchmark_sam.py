"""benchmarks.sam with a small random model and a pool of random experts: mechanics, not quality."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.numpy import save_file

from benchmarks.pages import section
from benchmarks.sam import run_targets
from benchmarks.sam_answers import DiskAnswers, Reader
from benchmarks.sam_bench import Bench
from benchmarks.sam_probes import PROBES
from benchmarks.sam_report import NOT_YET, TABLES, tables, write_docs
from benchmarks.sam_rows import Select
from benchmarks.sam_targets import PartPool, Target, leave_one_out
from experts.card import CardType, ExpertCard
from experts.evaluate import evaluate, f1_interval
from experts.extract import Extractor
from experts.merging.adapters import content_hash, load_adapter, save_adapter
from experts.pool import Expert
from experts.similarity import mean_vector
from experts.spans import Span
from sam_ui.services.engine import Engine
from sam_ui.services.recipes import make_recipes
from sam_ui.settings import Settings
from tests.docs_pool import PAGE, measured_tables
from tests.unit import tiny
from tests.unit.fakes import EMBEDDER, FakeEmbedder
from tests.unit.test_extract import random_adapter

BASE = tiny.gemma()
TYPES = ("person", "place")
TEXTS = tuple(f"{name} met Grace at {lake}." for name in ("Ada", "Bo", "Cy") for lake in ("X", "Y"))
CORPORA = {"fish": ["sea", "lake"], "law": ["court"], "tide": ["sea"], "star": ["sky"]}


def make_expert(folder: Path, name: str, seed: int) -> Expert:
    adapter = random_adapter(BASE, seed)
    save_adapter(adapter, folder / name, dtype=torch.float32, base_model=BASE.name)
    exemplars = [f"{name} and {word}." for word in ("a lamp", "an old bed", "fog", "jam")]
    vectors = FakeEmbedder().embed(exemplars)
    save_file({"vectors": vectors}, folder / name / "exemplars.safetensors")
    roles = [{"corpus": c, "share": 1 / (i + 1)} for i, c in enumerate(CORPORA.get(name, []))]
    card = ExpertCard(
        name=name,
        title=name,
        types=[CardType(name=name)],
        base_model=BASE.name,
        rank=4,
        recipe={"data": [*roles, {"corpus": "sky", "share": 0.2, "role": "mix"}]},
        hash=content_hash(load_adapter(folder / name)),
        embedder=EMBEDDER,
        mean=mean_vector(vectors).tolist(),
        exemplars=exemplars,
    )
    card.save(folder / name / "card.json")
    return Expert(name, folder / name, card, bundled=True)


@pytest.fixture(scope="module")
def experts(tmp_path_factory: pytest.TempPathFactory) -> list[Expert]:
    folder = tmp_path_factory.mktemp("pool")
    return [make_expert(folder, name, seed) for seed, name in enumerate(CORPORA)]


@pytest.fixture(scope="module")
def generalist(tmp_path_factory: pytest.TempPathFactory) -> Expert:
    return make_expert(tmp_path_factory.mktemp("generalist"), "all-of-it", 9)


@pytest.fixture(scope="module")
def target(experts: list[Expert]) -> Target:
    """What "law" finds is the truth, and a little more."""
    found = Extractor(BASE).extract(TEXTS, TYPES, adapter=experts[1].path)
    gold = [tuple(Span(*span.key) for span in spans) for spans in found]
    assert sum(map(len, gold)) > 3
    gold[0] = ()
    return Target("made", TEXTS, tuple(gold), TYPES, 2, "dev")


def make_bench(
    folder: Path,
    experts: Sequence[Expert],
    generalist: Expert | None = None,
    extractor: Any = None,
    **options: Any,
) -> tuple[Bench, list[str]]:
    said: list[str] = []
    settings = Settings(data_dir=folder / "data", _env_file=None)  # type: ignore[call-arg]
    bench = Bench(
        settings,
        experts,
        generalist,
        folder / "cache",
        bare_sentences=2,
        say=said.append,
        **options,
    )
    bench.engine.__dict__["extractor"] = extractor or Extractor(BASE)
    bench.engine.__dict__["embedder"] = FakeEmbedder()
    return bench, said


class Broken:
    """An extractor that must not be asked, or only so often."""

    def __init__(self, calls: int = 0) -> None:
        self.left = calls
        self.inner = Extractor(BASE)
        self.asked: list[tuple[int, int]] = []

    def extract_each(self, texts: Any, types: Any, adapters: Any) -> Any:
        if not self.left:
            raise KeyboardInterrupt
        self.left -= 1
        self.asked.append((len(texts), len(adapters)))
        return self.inner.extract_each(texts, types, adapters)

    def extract(self, *_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt


@pytest.fixture(scope="module")
def measured(
    tmp_path_factory: pytest.TempPathFactory,
    experts: list[Expert],
    generalist: Expert,
    target: Target,
) -> tuple[Path, dict[str, Any], list[str]]:
    folder = tmp_path_factory.mktemp("run")
    bench, said = make_bench(folder, experts, generalist, seeds=2)
    results: dict[str, Any] = {}
    run_targets(bench, [target], results, folder / "sam.json")
    return folder, results, said


def rows_of(results: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return results["targets"]["made · dev"]["rows"]


def test_every_row_is_computed_and_written(
    measured: tuple[Path, dict[str, Any], list[str]],
) -> None:
    folder, results, said = measured
    rows = rows_of(results)
    assert json.loads((folder / "sam.json").read_text("utf-8")) == results
    names = set(rows)
    assert {"bare base model", "generalist", "SaM dual", "k = 5", "n = 50", "law"} <= names
    assert {"votes: soft votes", "probe only"} <= names
    assert {"method: ties", "method: linear", "pool of 4 (order 0)", "without law"} <= names
    assert {name for name, row in rows.items() if "error" in row} == set()
    assert rows["bare base model"]["sentences"] == 2
    for row in rows.values():
        assert 0 <= row["low"] <= row["f1"] <= row["high"] <= 1
    assert len(rows["SaM single"]["f1_by_seed"]) == 2
    assert len(rows["oracle: best expert by gold"]["f1_by_seed"]) == 1
    assert rows["oracle: best expert by gold"]["adapters"] == [[{"law": 1.0}]]
    assert rows["SaM single"]["seconds"]["read"] >= 0
    assert any("merges to read, about" in line for line in said)


def test_a_single_expert_scores_what_evaluate_says(
    measured: tuple[Path, dict[str, Any], list[str]], experts: list[Expert], target: Target
) -> None:
    for expert in experts:
        found = Extractor(BASE).extract(target.texts, target.types, adapter=expert.path)
        score, (low, high) = evaluate(target.gold, found).micro, f1_interval(target.gold, found)
        row = rows_of(measured[1])[expert.name]
        assert row["f1"] == pytest.approx(score.f1, abs=1e-4)
        assert row["precision"] == pytest.approx(score.precision, abs=1e-4)
        assert row["recall"] == pytest.approx(score.recall, abs=1e-4)
        assert (row["low"], row["high"]) == pytest.approx((low, high), abs=1e-4)


def test_other_votes_choose_other_experts(
    measured: tuple[Path, dict[str, Any], list[str]], experts: list[Expert], target: Target
) -> None:
    bench, _ = make_bench(measured[0], experts, extractor=Broken())
    how = Select("probe", votes="two votes", k=1)
    weights = bench.chooser.choose(how, target, 0).described()
    answers = {
        e.name: bench.reader.answers(e.card.hash, target.texts, target.types) for e in experts
    }
    scores = PROBES["two votes"](answers)  # ten sentences are sampled of six: all
    assert weights == [{max(sorted(scores), key=lambda name: scores[name]): 1.0}]


@pytest.mark.parametrize("dual", [False, True])
def test_sam_is_what_the_product_does(
    measured: tuple[Path, dict[str, Any], list[str]],
    experts: list[Expert],
    target: Target,
    tmp_path: Path,
    dual: bool,
) -> None:
    settings = Settings(data_dir=tmp_path, _env_file=None)  # type: ignore[call-arg]
    engine = Engine(settings, pool=PartPool(experts))
    engine.__dict__.update(extractor=Extractor(BASE), embedder=FakeEmbedder())
    scores = []
    for seed in range(2):
        result = engine.match(target.texts, target.types, seed=seed)
        recipes = make_recipes(
            result.single,
            base_model=BASE.name,
            dual=(list(result.by_similarity), list(result.by_probe)) if dual else None,
        )
        folders = [tmp_path / f"{seed}-{i}" for i in range(len(recipes))]
        merged = [m.path for m in engine.merge(recipes, folders)]
        found = engine.predict(target.texts, target.types, merged)
        scores.append(evaluate(target.gold, found).micro.f1)
    row = rows_of(measured[1])["SaM dual" if dual else "SaM single"]
    assert row["f1_by_seed"] == pytest.approx(scores, abs=1e-4)
    assert row["f1"] == pytest.approx(sum(scores) / 2, abs=1e-4)


def test_a_second_run_calls_no_model(
    measured: tuple[Path, dict[str, Any], list[str]],
    experts: list[Expert],
    generalist: Expert,
    target: Target,
) -> None:
    folder, results, _ = measured
    bench, said = make_bench(folder, experts, generalist, Broken(), seeds=2)
    again = json.loads(json.dumps(results))
    run_targets(bench, [target], again, folder / "again.json")
    assert again == results
    assert any("rows are finished" in line for line in said)
    # a row that was lost comes back from the cached answers
    lost = rows_of(again).pop("SaM dual")
    run_targets(bench, [target], again, folder / "again.json", only=["SaM dual"])
    assert rows_of(again)["SaM dual"] == lost


def test_a_run_that_was_killed_goes_on(
    experts: list[Expert], target: Target, tmp_path: Path
) -> None:
    first = Broken(calls=1)
    bench, _ = make_bench(tmp_path, experts, extractor=first, seeds=1)
    results: dict[str, Any] = {}
    only = ["single", "SaM single"]
    with pytest.raises(KeyboardInterrupt):
        run_targets(bench, [target], results, tmp_path / "sam.json", only=only)
    assert first.asked == [(6, 4)]  # the experts were read, the merge was not
    kept = json.loads((tmp_path / "sam.json").read_text("utf-8"))
    assert set(rows_of(kept)) == {"fish", "law", "tide", "star"}
    second = Broken(calls=1)
    bench, _ = make_bench(tmp_path, experts, extractor=second, seeds=1)
    run_targets(bench, [target], kept, tmp_path / "sam.json", only=only)
    assert second.asked == [(6, 1)]
    assert "SaM single" in rows_of(kept)


def test_another_pool_makes_all_rows_anew_from_known_answers(
    measured: tuple[Path, dict[str, Any], list[str]], experts: list[Expert], target: Target
) -> None:
    folder, results, _ = measured
    bench, _ = make_bench(folder, experts[:3], extractor=Broken(), seeds=2)
    again = json.loads(json.dumps(results))
    run_targets(bench, [target], again, folder / "less.json", only=["single"])
    assert set(rows_of(again)) == {"fish", "law", "tide"}


def test_ranks_are_compared_with_gold(
    measured: tuple[Path, dict[str, Any], list[str]],
) -> None:
    found = measured[1]["targets"]["made · dev"]["ranks"]
    assert max(found["gold"], key=found["gold"].get) == "law"
    assert {"similarity (cosine of means)", "type names", "probe, n = 10"} <= set(found["spearman"])
    assert all(value is None or -1 <= value <= 1 for value in found["spearman"].values())
    # all six sentences with their gold spans rank as gold does
    assert found["spearman"]["probe against gold, n = 50"] == 1.0
    assert {"probe by soft votes, n = 5", "probe against the merge of all, n = 20"} <= set(
        found["spearman"]
    )


def write_corpus(path: Path, labels: Sequence[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [
        {"text": "Ada met Bo.", "entities": [{"start": 0, "end": 3, "label": label}]}
        for label in labels
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


def test_leave_one_out_removes_experts_that_share_a_domain(
    experts: list[Expert], tmp_path: Path
) -> None:
    for corpus in ("sea", "lake", "court"):
        write_corpus(tmp_path / corpus / "test.jsonl", ["a", "b", "a"])
    write_corpus(tmp_path / "sky" / "dev.jsonl", ["c"])
    targets = {
        t.name: t for t in leave_one_out(experts, tmp_path, split="test", sentences=2, corpora=2)
    }
    assert list(targets) == ["fish (sea)", "fish (lake)", "law (court)", "star (sky)"]
    assert targets["fish (sea)"].without == {"fish", "tide"}
    assert targets["fish (lake)"].without == {"fish", "tide"}
    assert targets["law (court)"].without == {"law"}
    assert targets["star (sky)"].split == "dev"
    assert targets["star (sky)"].mixed == {"fish", "law", "tide", "star"}
    assert len(targets["fish (sea)"].texts) == 2
    bench, _ = make_bench(tmp_path, experts)
    assert [e.name for e in bench.chooser.allowed(targets["fish (sea)"])] == ["law", "star"]
    results: dict[str, Any] = {}
    run_targets(bench, [targets["fish (sea)"]], results, tmp_path / "sam.json")
    rows = results["targets"]["fish (sea) · test"]["rows"]
    assert {row["group"] for row in rows.values()} == {"core", "single"}
    assert rows["uniform merge of all experts"]["adapters"] == [[{"law": 0.5, "star": 0.5}]]
    assert set(rows["SaM single"]["adapters"][0][0]) <= {"law", "star"}


def test_answers_are_kept_by_sentence(experts: list[Expert], tmp_path: Path) -> None:
    extractor = Broken(calls=2)
    path = {experts[0].card.hash: experts[0].path}
    Reader(lambda: extractor, DiskAnswers(tmp_path), "v", str).read(path, TEXTS[:2], TYPES)
    reader = Reader(lambda: extractor, DiskAnswers(tmp_path), "v", str)
    reader.read(path, TEXTS, TYPES[::-1])
    assert extractor.asked == [(2, 1), (4, 1)]
    whole = Extractor(BASE).extract(TEXTS, TYPES, adapter=experts[0].path)
    found = reader.answers(experts[0].card.hash, TEXTS, TYPES)
    assert [[s.key for s in spans] for spans in found] == [[s.key for s in w] for w in whole]
    assert reader.seconds(experts[0].card.hash, 6, TYPES) > 0
    assert reader.missing(experts[0].card.hash, TEXTS, ["person"]) == TEXTS


def test_tables_show_what_was_measured(
    measured: tuple[Path, dict[str, Any], list[str]], tmp_path: Path
) -> None:
    results = measured[1]
    shown = tables(results)
    row = rows_of(results)["SaM single"]
    assert f"| SaM single | {row['f1']:.3f} ({row['low']:.2f}" in shown["pool-targets"]
    assert "| method: ties |" in shown["pool-ablations"]
    best = rows_of(results)["oracle: best expert by gold"]["f1"]
    assert shown["pool-growth"].splitlines()[-1].endswith(f"| {best:.3f} |")
    assert shown["pool-leave-one-out"] == NOT_YET
    results = json.loads(json.dumps(results))
    results["targets"]["made · dev"]["left_out"] = ["fish"]
    shown = tables(results)
    assert shown["pool-leave-one-out"].splitlines()[-1].startswith("| **mean of 1** |")
    assert f"**{row['f1']:.3f}**" in shown["pool-leave-one-out"]
    assert "leave-one-out | SaM single | the generalist" in shown["pool-claims"]
    made = results["targets"].pop("made · dev")
    results["targets"] = {f"t{i}": made for i in range(5)}
    ratio = row["f1"] / best
    claim = next(
        x
        for x in tables(results)["pool-claims"].splitlines()
        if "SaM single | the best expert by gold" in x
    )
    assert f"| {ratio:.2f} | {row['f1'] - best:+.3f} (" in claim
    page = tmp_path / "pool.md"
    blocks = [f"<!-- {name}:start -->\nstale\n<!-- {name}:end -->" for name in TABLES]
    page.write_text("\n\n".join(blocks), "utf-8")
    write_docs(page, results)
    assert shown["pool-targets"] in page.read_text("utf-8")
    assert "stale" not in page.read_text("utf-8")
    assert set(tables({}).values()) == {NOT_YET}


@pytest.mark.parametrize("name", TABLES)
def test_the_page_shows_what_was_measured(name: str) -> None:
    written = section(PAGE.read_text("utf-8"), name)
    assert written == measured_tables()[name], "run `python -m tests.docs_pool`"
