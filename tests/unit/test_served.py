"""Extraction by a server, against our own: the same spans, and clear words when something fails."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from experts.base import BaseModel
from experts.engines import server as server_module
from experts.engines.protocol import SpanExtractor
from experts.engines.served import ServedExtractor, served_extractor
from experts.errors import Cancelled, SamError
from experts.extract import Extractor
from experts.merging.adapters import Adapter, LoraFactors, save_adapter
from experts.prompt import split_words
from experts.spans import Span
from sam_ui.services.engine import Engine
from sam_ui.settings import Settings
from tests.unit import tiny
from tests.unit.served_stand_in import StandIn

TYPES = ["political party", "gene"]
TEXTS = tiny.TEXTS[:3]


def served(server: StandIn, **options: object) -> ServedExtractor:
    base = server.base
    return ServedExtractor(server.url, base.tokenizer, base.name, **options)  # type: ignore[arg-type]


def random_adapter(base: BaseModel, seed: int) -> Adapter:
    generator = torch.Generator().manual_seed(seed)
    modules = {}
    for name, module in base.model.named_modules():
        if name.endswith(("q_proj", "down_proj")):
            out, into = module.weight.shape
            a = torch.randn(4, into, generator=generator)
            modules[name] = LoraFactors(a, torch.randn(out, 4, generator=generator), 0.5)
    return Adapter(f"random {seed}", base.name, modules)


def assert_same(mine: list[list[Span]], theirs: list[list[Span]]) -> None:
    assert [[s.key for s in spans] for spans in mine] == [[s.key for s in t] for t in theirs]
    assert any(mine)
    for left, right in zip(mine, theirs, strict=True):
        for a, b in zip(left, right, strict=True):
            assert a.score == pytest.approx(b.score, rel=1e-3)


def assert_valid(texts: list[str], found: list[list[Span]]) -> None:
    for text, spans in zip(texts, found, strict=True):
        words = split_words(text)
        end = 0
        for span in spans:
            assert span.label in TYPES
            assert span.start in {w.start for w in words}
            assert span.end in {w.end for w in words}
            assert end <= span.start < span.end
            assert 0 < (span.score or 0) <= 1
            end = span.end


@pytest.fixture
def llama() -> Iterator[StandIn]:
    with StandIn(tiny.llama()) as server:
        yield server


@pytest.mark.parametrize("make", [tiny.gemma, lambda: tiny.llama(sentencepiece=True)])
def test_a_server_finds_what_our_own_decoder_finds(make: object) -> None:
    base = make()  # type: ignore[operator]
    with StandIn(base) as server:
        theirs = served(server).extract(TEXTS, TYPES, overlapping=True)
    assert_same(Extractor(base).extract(TEXTS, TYPES, overlapping=True), theirs)


def test_adapters_from_folders_and_from_memory_are_loaded_once(
    llama: StandIn, tmp_path: Path
) -> None:
    base = llama.base
    adapters = [random_adapter(base, seed) for seed in (1, 2)]
    save_adapter(adapters[0], tmp_path / "one", dtype=torch.float32)
    shutil.copytree(tmp_path / "one", tmp_path / "copy")
    given = [tmp_path / "one", adapters[1], tmp_path / "copy", adapters[1]]
    seen: list[tuple[int, int]] = []
    theirs = served(llama).extract_each(
        TEXTS, TYPES, given, overlapping=True, progress=lambda *done: seen.append(done)
    )
    for adapter, answer in zip(given, theirs, strict=True):
        own = Extractor(base).extract(TEXTS, TYPES, adapter=adapter, overlapping=True)
        assert_same(own, answer)
    assert theirs[0] == theirs[2] != theirs[1]
    assert seen[-1] == (4 * len(TEXTS), 4 * len(TEXTS))
    assert seen == sorted(seen)
    loaded = llama.asked("/v1/load_lora_adapter")
    assert len({body["lora_name"] for body in loaded}) == len(loaded) == 2
    served(llama).extract(TEXTS[:1], TYPES, adapter=tmp_path / "one")  # another client
    assert len(llama.asked("/v1/load_lora_adapter")) == 2
    assert all(body["lora_name"].startswith("sam-") for body in loaded)


def test_requests_hold_the_prompt_as_tokens_and_one_grammar_a_text(llama: StandIn) -> None:
    extractor = served(llama)
    extractor.extract(TEXTS[:1], TYPES)
    asked = [b for b in llama.asked("/v1/completions") if "zigzag" not in str(b)][-2:]
    prompter = extractor.prompter
    prefix = prompter.prefix(prompter.text(TEXTS[0]))
    assert sorted(b["prompt"] for b in asked) == sorted(
        [*prefix, *prompter.query(name)] for name in TYPES
    )
    assert len({b["structured_outputs"]["grammar"] for b in asked}) == 1
    assert all(b["temperature"] == 0 for b in asked)


def test_long_texts_are_read_in_windows_that_fit_the_server(llama: StandIn) -> None:
    llama.positions = 200
    text = " ".join(f"word{i}" for i in range(60))
    found = served(llama).extract([text, " \n", TEXTS[0]], TYPES)
    assert_valid([text, " \n", TEXTS[0]], found)
    assert max((s.start for s in found[0]), default=0) > 100
    sizes = [len(b["prompt"]) + b["max_tokens"] for b in llama.asked("/v1/completions")]
    assert max(sizes) <= 200
    llama.positions = 40
    with pytest.raises(SamError, match="leaves no room"):
        served(llama).extract([text], TYPES)


def test_threshold_progress_and_nothing_to_read(llama: StandIn) -> None:
    extractor: SpanExtractor = served(llama)
    everything = extractor.extract(TEXTS, TYPES)
    scores = sorted(s.score or 0 for spans in everything for s in spans)
    middle = scores[len(scores) // 2]
    seen: list[tuple[int, int]] = []
    likely = extractor.extract(
        [*TEXTS, ""], TYPES, threshold=middle, progress=lambda *done: seen.append(done)
    )
    assert all((s.score or 0) >= middle for spans in likely for s in spans)
    assert seen[-1] == (4, 4)
    assert extractor.extract([], TYPES) == []
    with pytest.raises(SamError, match="No entity types"):
        extractor.extract(TEXTS, [])


def test_one_threshold_a_type_and_a_bias_against_mentions(llama: StandIn) -> None:
    extractor = served(llama, none_bias=1e4)
    assert not any(extractor.extract(TEXTS, TYPES))
    own = Extractor(llama.base)
    for bias in (3.0, -3.0):
        theirs = extractor.extract(TEXTS, TYPES, none_bias=bias, overlapping=True)
        mine = own.extract(TEXTS, TYPES, none_bias=bias, overlapping=True)
        assert any(mine)
        assert [[s.key for s in t] for t in theirs] == [[s.key for s in t] for t in mine]
    found = extractor.extract(TEXTS, TYPES, threshold={"gene": 1.1}, none_bias=0.0)
    assert {span.label for spans in found for span in spans} == {"political party"}


@pytest.mark.parametrize("enforces", ["text", "nothing"])
@pytest.mark.parametrize("shows_ids", [True, False])
def test_servers_with_lesser_grammars_still_give_valid_spans(
    enforces: str, shows_ids: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with StandIn(tiny.llama(), enforces=enforces, shows_ids=shows_ids) as server:
        found = served(server).extract(tiny.TEXTS, TYPES)
        assert_valid(tiny.TEXTS, found)
        grammars = [b.get("structured_outputs") for b in server.asked("/v1/completions")][2:]
    if enforces == "text":
        assert any(found)
        assert all(g and "Token(" not in g["grammar"] for g in grammars)
    else:
        assert not any(grammars)
        assert "enforces no grammar" in caplog.text
    assert not any(text in caplog.text for text in tiny.TEXTS)


GARBAGE = [
    b"",
    b"<html>hello</html>",
    b"[]",
    b"null",
    b'{"choices": []}',
    b'{"choices": [{"text": "x"}]}',
    b'{"choices": [{"text": "x", "logprobs": {"tokens": ["a"], "token_logprobs": []}}]}',
    b"[" * 5000,
]


@pytest.mark.parametrize("garbage", GARBAGE)
def test_what_is_no_completion_is_refused(llama: StandIn, garbage: bytes) -> None:
    llama.garbage = garbage
    with pytest.raises(SamError, match="answered with") as error:
        served(llama).extract(TEXTS, TYPES)
    assert llama.url in error.value.what


EXTRACTOR_TEXTS = ["a b a c", TEXTS[0]]


@given(
    st.lists(
        st.tuples(
            st.one_of(st.text("ab c\n", max_size=4), st.integers(-5, 500), st.none()),
            st.one_of(st.floats(-5, 0), st.none(), st.text(max_size=3), st.just(10**400)),
        ),
        max_size=10,
    )
)
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_completion_gives_valid_spans(
    shared: tuple[StandIn, ServedExtractor], said: list[tuple[object, object]]
) -> None:
    server, extractor = shared
    tokens = [token for token, _ in said]
    logprobs = {"tokens": tokens, "token_logprobs": [value for _, value in said]}
    choice = {"text": "", "token_ids": tokens, "logprobs": logprobs}
    server.garbage = json.dumps({"choices": [choice]}).encode()
    assert_valid(EXTRACTOR_TEXTS, extractor.extract(EXTRACTOR_TEXTS, TYPES))


@pytest.fixture(scope="module")
def shared() -> Iterator[tuple[StandIn, ServedExtractor]]:
    with StandIn(tiny.llama()) as server:
        extractor = served(server)
        extractor.extract(["a"], TYPES)  # finds out what the server can do
        yield server, extractor


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "_FIRST_WAIT", 0.01)


def test_errors_that_pass_are_waited_for(llama: StandIn, impatient: None) -> None:
    expected = served(llama).extract(TEXTS[:1], TYPES)
    llama.faults = [500, 503, 429, 502]
    assert served(llama).extract(TEXTS[:1], TYPES) == expected
    assert not llama.faults


def test_errors_that_stay_are_told_without_the_text(llama: StandIn, impatient: None) -> None:
    extractor = served(llama)
    extractor.extract(TEXTS[:1], TYPES)
    before = len(llama.seen)
    llama.faults = [400] * 100
    with pytest.raises(SamError, match=r"could not answer \(HTTP 400 Inter") as error:
        extractor.extract(TEXTS[:1], TYPES[:1])
    assert "bad day" not in str(error.value)
    assert len([1 for path, _ in llama.seen[before:] if path == "/v1/completions"]) == 1
    llama.faults = [500] * 100
    with pytest.raises(SamError, match="HTTP 500"):
        extractor.extract(TEXTS[:1], TYPES)
    with pytest.raises(SamError, match="HTTP 500"):
        served(llama).extract(TEXTS[:1], TYPES)


def test_a_slow_server_is_left_at_once_when_cancelled(llama: StandIn) -> None:
    extractor = served(llama)
    extractor.extract(["a"], TYPES)
    llama.open.clear()
    begun = time.monotonic()
    with pytest.raises(Cancelled):
        extractor.extract(TEXTS, TYPES, cancelled=lambda: len(llama.asked("/v1/completions")) > 6)
    assert time.monotonic() - begun < 2


def test_a_server_that_does_not_answer_in_time(llama: StandIn) -> None:
    llama.open.clear()
    with pytest.raises(SamError, match=r"no answer within 0\.3 seconds"):
        served(llama, timeout_s=0.3).extract(TEXTS, TYPES)


def test_no_server(llama: StandIn) -> None:
    with StandIn(llama.base) as gone:
        extractor = served(gone)
    with pytest.raises(SamError, match="No server can be reached") as error:
        extractor.extract(TEXTS, TYPES)
    assert gone.url in error.value.what
    assert f"vllm serve {llama.base.name} --enable-lora" in error.value.hint


@pytest.mark.parametrize(
    "url", ["", "127.0.0.1:8000", "ftp://x", "http://", "http://[", "http://x:y", "http://x:99999"]
)
def test_what_is_no_address_is_refused_at_once(url: str) -> None:
    with pytest.raises(SamError, match="not the address"):
        ServedExtractor(url, tiny.byte_level_tokenizer(), "x")


def test_passwords_and_keys_are_not_shown() -> None:
    extractor = ServedExtractor("http://me:secret@127.0.0.1:9/v1", tiny.byte_level_tokenizer(), "x")
    with pytest.raises(SamError, match=r"reached at http://127\.0\.0\.1:9 ") as error:
        extractor.extract(TEXTS, TYPES)
    assert "secret" not in str(error.value)
    with pytest.raises(SamError, match="no key has") as error:
        ServedExtractor("http://x", tiny.byte_level_tokenizer(), "x", api_key="clé\n")
    assert "clé" not in str(error.value)


def test_the_key_is_sent_and_a_wrong_one_told() -> None:
    with StandIn(tiny.llama(), key="right") as server:
        assert any(served(server, api_key="right").extract(TEXTS, TYPES))
        for key in ("", "wrong"):
            with pytest.raises(SamError, match="does not accept the key") as error:
                served(server, api_key=key).extract(TEXTS, TYPES)
            assert "SAM_ENGINE_KEY" in error.value.hint
            assert "wrong" not in str(error.value)


def test_another_base_model_is_refused_by_name_and_by_tokenizer(llama: StandIn) -> None:
    own = llama.base.tokenizer
    with pytest.raises(SamError, match=r"serves tiny/llama, not google/gemma-3-270m") as error:
        ServedExtractor(llama.url, own, "google/gemma-3-270m").extract(TEXTS, TYPES)
    assert "vllm serve google/gemma-3-270m" in error.value.hint
    aliased = ServedExtractor(llama.url + "/v1/", own, "some/name", aliases=["elsewhere/llama"])
    assert any(aliased.extract(TEXTS, TYPES))
    other = ServedExtractor(llama.url, tiny.sentencepiece_tokenizer(), "tiny/llama")
    with pytest.raises(SamError, match="another tokenizer"):
        other.extract(TEXTS, TYPES)


def test_adapters_that_the_server_does_not_load(llama: StandIn, tmp_path: Path) -> None:
    folder = tmp_path / "expert"
    save_adapter(random_adapter(llama.base, 1), folder)
    extractor = served(llama)
    llama.lora = False
    with pytest.raises(SamError, match="loads no adapters") as error:
        extractor.extract(TEXTS, TYPES, adapter=folder)
    assert "VLLM_ALLOW_RUNTIME_LORA_UPDATING=True" in error.value.hint
    llama.lora = True
    extractor.extract(TEXTS[:1], TYPES, adapter=folder)
    llama.adapters.clear()
    (folder / "adapter_config.json").unlink()  # as for a server that does not see the folder
    with pytest.raises(SamError, match="cannot load the adapter") as error:
        extractor.extract(TEXTS, TYPES, adapter=folder)
    assert "under the same path" in error.value.hint
    with pytest.raises(SamError, match="expert"):
        served(llama).extract(TEXTS, TYPES, adapter=tmp_path / "nothing")


def test_only_the_tokenizer_is_loaded_here(llama: StandIn, tmp_path: Path) -> None:
    folder = tmp_path / "llama"
    llama.base.tokenizer.save_pretrained(folder)
    extractor = served_extractor(llama.url, str(folder), data_dir=tmp_path)
    assert any(extractor.extract(TEXTS, TYPES))
    with pytest.raises(SamError, match="tokenizer of the base model"):
        served_extractor(llama.url, str(tmp_path / "none"), data_dir=tmp_path)


def test_the_app_uses_the_server_that_is_set(llama: StandIn, tmp_path: Path) -> None:
    llama.key = "right"
    llama.base.tokenizer.save_pretrained(tmp_path / "llama")
    options = {"data_dir": tmp_path, "engine_url": llama.url, "engine_key": "right"}
    chosen = Settings(**options, base_model=str(tmp_path / "llama"), _env_file=None)
    assert "right" not in repr(chosen)
    assert chosen.as_env()["SAM_ENGINE_KEY"] == "right"  # the worker needs it
    engine = Engine(chosen, pool=lambda: pytest.fail("no expert is needed"))
    assert engine.predict(TEXTS, TYPES, [None]) == served(llama, api_key="right").extract(
        TEXTS, TYPES
    )
    assert "base" not in engine.__dict__  # the model is on the server
