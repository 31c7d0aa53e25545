"""Recipe files: how they share what is known of a corpus, and what ours may contain."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.pages import section
from experts.errors import SamError
from experts.recipes import TrainingRecipe, load_recipe
from tests.pool_tables import PAGE, TABLES

FOLDER = Path("assets/recipes")
CORPORA = sorted((FOLDER / "corpora").glob("*.toml"))
POOL = {path.stem: load_recipe(path) for path in sorted(FOLDER.glob("*.toml"))}
GENERALIST = load_recipe(FOLDER / "baselines" / "generalist.toml")
EVERY = {**POOL, "generalist": GENERALIST}
MIXED_IN = "fewnerd_inter36"

# No licence stated, no commercial use, or terms that differ within the corpus.
NOT_TO_BE_PASSED_ON = {
    "e_ner", "gmb_news", "harveyner", "mars_lpsc", "matscholar", "queryner", "re3d", "scierc",
    "topres19th",
}  # fmt: skip

DESCRIPTION = """
licence = "CC0"
source = "us"
leave_out = ["junk"]
[types]
PER = ["person", "somebody"]
"""
RECIPE = """
name = "tales"
title = "Tales"
description = ""
[[data]]
corpus = "tales"
described_in = "../corpora/tales.toml"
"""


def write(folder: Path, recipe: str = RECIPE, description: str = DESCRIPTION) -> Path:
    (folder / "corpora").mkdir()
    (folder / "corpora" / "tales.toml").write_text(description, "utf-8")
    (folder / "mine").mkdir()
    (folder / "mine" / "tales.toml").write_text(recipe, "utf-8")
    return folder / "mine" / "tales.toml"


def test_a_corpus_may_be_described_in_a_file_of_its_own(tmp_path: Path) -> None:
    corpus = load_recipe(write(tmp_path)).data[0]
    assert (corpus.licence, corpus.source) == ("CC0", "us")
    assert corpus.types == {"PER": ["person", "somebody"]}
    assert corpus.leave_out == ["junk"]


def test_what_the_recipe_says_itself_wins(tmp_path: Path) -> None:
    own = 'leave_out = []\nsource = "them"\n[data.types]\nPER = ["hero"]\n'
    corpus = load_recipe(write(tmp_path, RECIPE + own)).data[0]
    assert (corpus.licence, corpus.source) == ("CC0", "them")
    assert corpus.types == {"PER": ["hero"]}
    assert corpus.leave_out == []


def test_a_loaded_recipe_is_complete_without_the_description(tmp_path: Path) -> None:
    plan = load_recipe(write(tmp_path))
    stored = plan.model_dump(mode="json")
    assert "described_in" not in stored["data"][0]
    assert TrainingRecipe.model_validate(stored) == plan


@pytest.mark.parametrize(
    ("description", "message"),
    [
        ("licence = ", r"corpora.tales\.toml is not a TOML file"),
        ('licence = "CC0"', r"corpora.tales\.toml: the field 'source' is wrong"),
        (DESCRIPTION.replace("leave_out", "share"), r"corpora.tales\.toml: the field 'share'"),
    ],
)
def test_a_wrong_description_is_named(tmp_path: Path, description: str, message: str) -> None:
    with pytest.raises(SamError, match=message):
        load_recipe(write(tmp_path, description=description))


def test_a_missing_description_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, RECIPE.replace("corpora/tales", "corpora/sagas"))
    with pytest.raises(SamError, match=r"no corpus description .*sagas\.toml"):
        load_recipe(path)
    path.write_text(RECIPE.replace('"../corpora/tales.toml"', "3"), "utf-8")
    with pytest.raises(SamError, match=r"described_in"):
        load_recipe(path)


def test_the_pool_has_experts_of_many_domains() -> None:
    assert len(POOL) >= 12
    own = Counter(c.corpus for plan in POOL.values() for c in plan.data if c.role == "domain")
    assert max(own.values()) == 1, "no two experts have a domain corpus in common"


@pytest.mark.parametrize("name", EVERY)
def test_our_recipes_use_only_data_that_may_be_passed_on(name: str) -> None:
    for corpus in EVERY[name].data:
        assert corpus.corpus not in NOT_TO_BE_PASSED_ON
        assert not re.search(r"\bNC\b|none|unknown|GPL", corpus.licence)
        assert corpus.source
        assert corpus.types, "without names, the corpus' own labels would be asked"


@pytest.mark.parametrize("path", CORPORA, ids=lambda path: path.stem)
def test_type_names_are_many_and_distinct(path: Path) -> None:
    # The recipe of `encyclopedia`, where the others start, is older than the descriptions.
    plans = [plan for plan in EVERY.values() if plan.name != "encyclopedia"]
    corpora = [c for plan in plans for c in plan.data if c.corpus == path.stem]
    assert corpora, "a description that no recipe uses"
    types = corpora[0].types
    assert all(c.types == types for c in corpora), "the same names wherever the corpus is used"
    assert not set(types) & set(corpora[0].leave_out)
    named: dict[str, str] = {}
    for label, names in types.items():
        assert 3 <= len(names) <= 8, (label, names)
        for name in names:
            assert 1 <= len(name.split()) <= 9, name
            assert name == " ".join(name.split()), "single spaces, one line"
            assert ":" not in name, "a colon ends the name in the prompt"
            key = name.casefold()
            assert key not in named or named[key] == label, f"{name!r} names two labels"
            named[key] = label
    for names in types.values():
        assert len(set(names)) == len(names)


@pytest.mark.parametrize("name", POOL)
def test_three_sentences_of_ten_keep_an_expert_following_other_types(name: str) -> None:
    data = POOL[name].data
    total = sum(c.share for c in data)
    mixed = [c for c in data if c.role == "mix"]
    if any(c.corpus == MIXED_IN and c.role == "domain" for c in data):
        assert not mixed
        return
    assert [c.corpus for c in mixed] == [MIXED_IN]
    assert mixed[0].share / total == pytest.approx(0.3)
    assert len(mixed[0].types) == 36


def test_the_generalist_sees_what_all_experts_see() -> None:
    drawn: Counter[str] = Counter()
    for plan in POOL.values():
        total = sum(c.share for c in plan.data)
        for corpus in plan.data:
            drawn[corpus.corpus] += plan.sentences * corpus.share / total
    assert GENERALIST.sentences == sum(plan.sentences for plan in POOL.values())
    assert {c.corpus: c.share for c in GENERALIST.data} == pytest.approx(drawn, rel=0.02)
    assert {c.role for c in GENERALIST.data} == {"domain"}


def test_training_all_experts_leaves_the_baselines_alone() -> None:
    assert "generalist" not in POOL
    makefile = Path("Makefile").read_text()
    first, rest = re.search(r"^RECIPES \?= (\S+) (.*)$", makefile, re.M).groups()  # type: ignore[union-attr]
    assert first == "assets/recipes/encyclopedia.toml", "the others start from it"
    assert rest == "$(filter-out %/encyclopedia.toml,$(sort $(wildcard assets/recipes/*.toml)))"


def test_all_experts_but_the_first_start_from_it() -> None:
    assert {name: plan.start for name, plan in POOL.items()} == {
        name: None if name == "encyclopedia" else "encyclopedia" for name in POOL
    }


@pytest.mark.parametrize("name", TABLES)
def test_the_page_on_the_pool_is_up_to_date(name: str) -> None:
    written = section(PAGE.read_text("utf-8"), name)
    assert written == TABLES[name](), "run `python -m tests.pool_tables`"
