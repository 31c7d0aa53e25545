"""The file that finds entities without SaM finds what SaM finds."""

from __future__ import annotations

import importlib.util
import random
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from experts import verdict, windows, words
from experts.base import BaseModel
from experts.export import predict_template
from experts.export.predict_script import predict_script
from experts.extract import Extractor
from experts.merging.adapters import Adapter, LoraFactors, save_adapter
from experts.prompt import Prompter
from experts.spans import Span
from sam_ui.services.engine import unite
from tests.unit import tiny

TYPES = ["person", "person name", "place", "place of work", "political party"]
WORDS = [
    "the", "Greens", "formed", "a", "(joint)", "list,", "New", "York", "p53", "IL-2", "Ada", "é",
    "中文", "ทดสอบ", "👩\u200d👩\u200d👧", "\x1d", "\ud83d",
]  # fmt: skip


def texts(count: int, longest: int = 40) -> list[str]:
    chance = random.Random(5)
    made = [" ".join(chance.choices(WORDS, k=chance.randint(1, longest))) for _ in range(count)]
    return [*made, "", "   ", "NewNewYork-York  \n York"]


def script(tmp_path: Path, base: str, folders: tuple[str, ...]) -> ModuleType:
    path = tmp_path / "predict.py"
    path.write_text(predict_script(base, folders), "utf-8")
    spec = importlib.util.spec_from_file_location("predict_alone", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def an_adapter(base: BaseModel, folder: Path, seed: int) -> Path:
    generator = torch.Generator().manual_seed(seed)
    modules = {}
    for path, module in base.model.named_modules():
        if path.endswith(("q_proj", "down_proj")):
            out, into = module.weight.shape  # type: ignore[union-attr,misc]
            a = torch.randn(2, into, generator=generator)  # type: ignore[arg-type]
            b = torch.randn(out, 2, generator=generator) * 0.3  # type: ignore[arg-type]
            modules[path] = LoraFactors(a=a, b=b, scaling=1.0)
    save_adapter(Adapter("a", base.name, modules), folder, dtype=torch.float32)
    return folder


def same(mine: list[list[Any]], theirs: list[list[Span]]) -> int:
    """How many spans are the same; fails where anything differs."""
    assert [[tuple(s[:3]) for s in found] for found in mine] == [
        [span.key for span in found] for found in theirs
    ]
    for found, expected in zip(mine, theirs, strict=True):
        for span, other in zip(found, expected, strict=True):
            assert other.score == pytest.approx(span[3], rel=2e-3, abs=1e-9)
    return sum(map(len, mine))


def saved(base: BaseModel, folder: Path) -> Path:
    base.model.save_pretrained(folder)
    base.tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("kind", ["gemma", "llama", "sentencepiece", "gpt2"])
def test_one_adapter_finds_what_the_app_finds(tmp_path: Path, kind: str) -> None:
    base = tiny.llama(sentencepiece=True) if kind == "sentencepiece" else getattr(tiny, kind)()
    folder = saved(base, tmp_path / "base")
    if kind == "gpt2":  # its layers have other names
        adapter = None
        (tmp_path / "model").mkdir()
        from peft import LoraConfig, get_peft_model

        peft: Any = get_peft_model(tiny.gpt2().model, LoraConfig(target_modules=["c_proj"]))
        peft.save_pretrained(tmp_path / "model")
    else:
        adapter = an_adapter(base, tmp_path / "model", 1)
    model = script(tmp_path / "model", str(folder), (".",)).Model(str(tmp_path / "model"))
    prompter = Prompter(base.tokenizer)
    assert (model.end, model.stop) == (prompter.mention_end, prompter.list_end)
    given = texts(12)
    for text in given:
        read = prompter.text(text)
        assert [i for _, _, ids in model.words(text) for i in ids] == list(read.tokens)
        assert [(a, b) for a, b, _ in model.words(text)] == [(w.start, w.end) for w in read.words]
    found = Extractor(base).extract(given, TYPES, adapter=adapter)
    assert same(model.extract(given, TYPES), found) > 10


def test_long_texts_are_read_in_the_same_windows(tmp_path: Path) -> None:
    base = tiny.gemma(max_position_embeddings=200)
    folder = saved(base, tmp_path / "base")
    adapter = an_adapter(base, tmp_path / "model", 2)
    model = script(tmp_path / "model", str(folder), (".",)).Model(str(tmp_path / "model"))
    given = [*texts(3, 90), "x" * 2000 + " Ada met Grace"]
    types = ["person"]  # of several, a mention in two windows could be settled by either
    assert same(model.extract(given, types), Extractor(base).extract(given, types, adapter=adapter))


def test_two_adapters_are_united(tmp_path: Path) -> None:
    base = tiny.gemma()
    folder = saved(base, tmp_path / "base")
    adapters = [
        an_adapter(base, tmp_path / "m" / n, s) for s, n in enumerate(("similarity", "probe"))
    ]
    model = script(tmp_path / "m", str(folder), ("similarity", "probe")).Model(str(tmp_path / "m"))
    given = texts(8)
    extractor = Extractor(base)
    answers = [extractor.extract(given, TYPES, adapter=adapter) for adapter in adapters]
    assert answers[0] != answers[1]
    united = [unite(spans) for spans in zip(*answers, strict=True)]
    assert same(model.extract(given, TYPES), united) > 5


def test_its_constants_are_those_of_the_app() -> None:
    assert words._WORD.pattern == predict_template.WORD
    assert predict_template.ASK == verdict._ASK
    assert predict_template.NOTHING == verdict._NOTHING
    assert predict_template.CALIBRATION == verdict._CALIBRATION
    assert predict_template.MOST_TOKENS == windows._TEXT_TOKENS
    assert predict_template.LEAST_TOKENS == windows._LEAST_TEXT_TOKENS
    assert predict_template.OVERLAP_WORDS == windows._OVERLAP_WORDS


def test_it_names_its_base_and_imports_nothing_else() -> None:
    text = predict_script('a "quoted"/base\\n', ("similarity", "probe"))
    namespace: dict[str, Any] = {"__name__": "predict_alone"}
    exec(compile(text, "predict.py", "exec"), namespace)
    assert namespace["BASE"] == 'a "quoted"/base\\n'
    assert namespace["ADAPTERS"] == ("similarity", "probe")
    lines = [line for line in text.splitlines() if line.startswith(("import ", "from "))]
    outside = {line.split()[1].split(".")[0] for line in lines} & {"experts", "sam_ui", "db"}
    assert outside == set()
