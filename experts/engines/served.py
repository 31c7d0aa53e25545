"""Extraction by a vLLM server (OpenAI-compatible) that the person has started.

Every type of every text is one request: the prompt as token ids, the valid answers as a grammar
(structured outputs), greedy decoding. The server's prefix caching reads a text once for all types.

How this differs from `experts.extract.Extractor`:

- Where the server knows grammars over tokens (vLLM 0.33 with XGrammar 0.2.8 does), the same tokens
  are chosen among the same candidates, so that answers differ by rounding only. Older servers get a
  grammar over characters, under which a word may be cut into other tokens than in training.
- A probability is what the server reports. vLLM normalises over the tokens that the grammar allows,
  as our decoder does, but before a `none_bias`, which ours counts in; a server that enforces no
  grammar normalises over the whole vocabulary.
- A reply is read again by our automaton (`experts.engines.answers`), so that every span is valid
  whatever a server answers; one that enforces no grammar loses what it says beside the text.
- Adapters are read by the server from their folders: it must see them under the same paths.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from transformers import AutoTokenizer
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from experts.decoding import Mention
from experts.embedded import EMBEDDED_BASE, prepare_base
from experts.engines.answers import probability, read_answer
from experts.engines.background import results
from experts.engines.completions import Enforced, completion_body, pieces_of, probe, start_hint
from experts.engines.folders import AdapterFolders
from experts.engines.protocol import SpanExtractor, each_in_turn
from experts.engines.server import Refused, Server
from experts.errors import SamError
from experts.merging.adapters import Adapter
from experts.prompt import Prompter, TokenizedText
from experts.spans import Span, drop_overlaps, likeliest
from experts.windows import text_limit
from experts.windows import windows as cut

__all__ = ["ServedExtractor", "served_extractor"]


@dataclass(frozen=True, slots=True)
class _Job:
    """One type of one window of a text."""

    source: int
    entity_type: int
    window: TokenizedText
    prompt: list[int]


@dataclass(frozen=True, slots=True)
class _Serving:
    """What the server says of itself."""

    base: str  # the name under which it serves the base model
    adapters: frozenset[str]
    positions: int | None  # that prompt and answer may have together


class ServedExtractor:
    """Runs a base model on a vLLM server; the same interface as `experts.extract.Extractor`.

    Args:
        url: the server's address, e.g. ``http://127.0.0.1:8000``.
        tokenizer: the base model's.
        base_model: hub id that the server must serve, by name or as what it has loaded.
        aliases: other names of it, such as its folder.
        none_bias: added to the logit of "no (further) mention", in nats, at most 100 either way.
        api_key: what the server was given as ``--api-key``.
        concurrency: requests under way at once.
        timeout_s: seconds to wait for one reply.

    Raises:
        SamError: for a URL that is none, or a tokenizer without a line break.
    """

    def __init__(
        self,
        url: str,
        tokenizer: PreTrainedTokenizerBase,
        base_model: str,
        *,
        aliases: Sequence[str] = (),
        none_bias: float = 0.0,
        api_key: str = "",
        concurrency: int = 32,
        timeout_s: float = 120.0,
    ) -> None:
        self.prompter = Prompter(tokenizer)
        self.base_model = base_model
        self.none_bias = none_bias
        self._names = {name for name in (base_model, *aliases) if name}
        self._server = Server(
            url, start=start_hint(base_model), api_key=api_key, timeout_s=timeout_s
        )
        self._concurrency = concurrency
        self._enforced: Enforced | None = None  # found out at the first use
        self._folders = AdapterFolders(base_model)

    def extract(
        self,
        texts: Sequence[str],
        types: Sequence[str],
        *,
        adapter: Path | Adapter | None = None,
        threshold: float | Mapping[str, float] = 0.0,
        none_bias: float | None = None,
        overlapping: bool = False,
        progress: Callable[[int, int], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> list[list[Span]]:
        """Find the mentions of the asked types.

        Args:
            texts: any texts; long ones are read in overlapping windows.
            types: names of the entity types; the labels of the spans.
            adapter: PEFT folder, which the server must see under the same path, or a loaded
                adapter, which is written to a temporary folder; ``None`` for the bare base model.
            threshold: spans with a lower probability are left out; one for all types, or one for
                each (0 where a type is not named).
            none_bias: in place of the extractor's own.
            overlapping: keep spans of different types that overlap; otherwise the likelier stays.
            progress: called with (texts done, all texts).
            cancelled: asked ten times a second; requests under way are dropped.

        Returns:
            For each text its spans, sorted by position.

        Raises:
            SamError: no types; a server that cannot be reached, serves another base model, refuses
                the key, loads no adapters or does not answer as vLLM does.
            Cancelled: if `cancelled` said so.
        """
        if not types:
            raise SamError("No entity types were asked for.", "Name at least one, e.g. person.")
        placed = None if adapter is None else self._folders.place(adapter)
        found: list[list[Span]] = [[] for _ in texts]
        waiting = [0] * len(texts)  # requests that a text still waits for
        done = 0

        bias = self.none_bias if none_bias is None else none_bias
        least = threshold if isinstance(threshold, Mapping) else dict.fromkeys(types, threshold)

        async def work(emit: Callable[[tuple[_Job, list[Mention]]], None]) -> None:
            await self._answer(list(texts), list(types), placed, bias, waiting, emit)

        answers = results(work, cancelled)
        with contextlib.closing(answers):  # type: ignore[type-var]
            for job, mentions in answers:
                for mention in mentions:
                    span = _span(job.window, mention, types[job.entity_type])
                    if (span.score or 0.0) >= least.get(span.label, 0.0):
                        found[job.source].append(span)
                waiting[job.source] -= 1
                if not waiting[job.source]:
                    done += 1
                    if progress is not None:
                        progress(done, len(texts))
        if progress is not None and done < len(texts):  # texts without a word need no request
            progress(len(texts), len(texts))
        return [_tidy(spans, overlapping) for spans in found]

    def extract_each(
        self,
        texts: Sequence[str],
        types: Sequence[str],
        adapters: Sequence[Path | Adapter],
        *,
        none_bias: float | None = None,
        overlapping: bool = False,
        progress: Callable[[int, int], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> list[list[list[Span]]]:
        """Answers of several adapters to the same texts.

        Args:
            adapters: PEFT folders or loaded adapters of this base model.
            progress: called with (answers done, all answers), one for each adapter and text.

        Other arguments and errors as of `extract`.

        Returns:
            For each adapter, for each text, its spans.
        """
        return each_in_turn(
            self,
            texts,
            types,
            adapters,
            none_bias=none_bias,
            overlapping=overlapping,
            progress=progress,
            cancelled=cancelled,
        )

    # ---- requests: what follows runs in the thread of the event loop ----

    async def _answer(
        self,
        texts: list[str],
        types: list[str],
        adapter: tuple[str, Path] | None,
        none_bias: float,
        waiting: list[int],
        emit: Callable[[tuple[_Job, list[Mention]]], None],
    ) -> None:
        async with self._server.client(self._concurrency) as client:
            serving = await self._look(client)
            model = serving.base
            if adapter is not None:
                model = adapter[0]
                if model not in serving.adapters:
                    await self._load(client, *adapter)
            if self._enforced is None:
                self._enforced = await probe(client, self._server, serving.base, self.prompter)
            jobs = self._jobs(texts, types, serving.positions, waiting)

            async def worker() -> None:
                for job in jobs:  # shared: each job is taken once
                    emit((job, await self._ask(client, model, job, none_bias)))

            workers = [asyncio.create_task(worker()) for _ in range(self._concurrency)]
            try:
                await asyncio.gather(*workers)
            finally:  # the first error ends all
                for task in workers:
                    task.cancel()
                await asyncio.gather(*workers, return_exceptions=True)

    def _jobs(
        self, texts: list[str], types: list[str], positions: int | None, waiting: list[int]
    ) -> Iterator[_Job]:
        """Text by text, so that the server finds each in its cache when the next type is asked."""
        queries = [self.prompter.query(entity_type) for entity_type in types]
        limit = self._text_limit(max(map(len, queries)), positions)
        for source, text in enumerate(texts):
            parts = list(cut(self.prompter.text(text), limit))
            waiting[source] = len(parts) * len(types)
            for part in parts:
                prefix = self.prompter.prefix(part)
                for i, query in enumerate(queries):
                    yield _Job(source, i, part, [*prefix, *query])

    def _text_limit(self, longest: int, positions: int | None) -> int:
        """Tokens of text for which the server has positions enough, whatever the answer."""
        limit = text_limit(self.prompter, longest, None if positions is None else positions - 2)
        if limit is None:
            raise SamError(
                f"An entity type of {longest} tokens leaves no room for the text: the server at "
                f"{self._server.url} reads {positions}.",
                "Give the type a shorter name, or start the server with a larger --max-model-len.",
            )
        return limit

    async def _ask(
        self, client: httpx.AsyncClient, model: str, job: _Job, none_bias: float
    ) -> list[Mention]:
        assert self._enforced is not None
        body = completion_body(model, job.prompt, job.window, self.prompter, self._enforced)
        if none_bias:
            body["logit_bias"] = {str(self.prompter.list_end): max(-100.0, min(none_bias, 100.0))}
        try:
            reply = await self._server.post(client, "/v1/completions", body)
        except Refused as error:
            if error.status == 404:
                raise SamError(
                    f"The server at {self._server.url} no longer knows {model}.", "Try again."
                ) from None
            # Its words may repeat the text, so they are kept out of messages and logs.
            raise SamError(
                f"The server at {self._server.url} could not answer ({error}).",
                "See what it has logged, and try again.",
            ) from None
        return read_answer(job.window, pieces_of(reply, self._server), self.prompter)

    # ---- models ----

    async def _look(self, client: httpx.AsyncClient) -> _Serving:
        """What the server has loaded.

        Raises:
            SamError: if that is not our base model.
        """
        try:
            cards = (await self._server.get(client, "/v1/models"))["data"]
            bases = [card for card in cards if not card.get("parent")]
            names = [(str(card["id"]), str(card.get("root") or "")) for card in bases]
            adapters = frozenset(str(card["id"]) for card in cards if card.get("parent"))
            positions = [card.get("max_model_len") for card in bases]
        except Refused as error:
            raise self._server.strange(str(error)) from None
        except (KeyError, TypeError, AttributeError):
            raise self._server.strange("something that is no list of models") from None
        known = (self._names | {Path(name).name for name in self._names}) - {""}
        for (name, root), length in zip(names, positions, strict=True):
            if {name, root, Path(name).name, Path(root).name} & known:
                return _Serving(name, adapters, length if isinstance(length, int) else None)
        served = ", ".join(name for name, _ in names) or "no model"
        raise SamError(
            f"The server at {self._server.url} serves {served}, not {self.base_model}.",
            f"{self._server.start[0].upper()}{self._server.start[1:]}",
        )

    async def _load(self, client: httpx.AsyncClient, name: str, folder: Path) -> None:
        body = {"lora_name": name, "lora_path": str(folder)}
        try:
            await self._server.post(client, "/v1/load_lora_adapter", body, retry_5xx=False)
        except Refused as error:
            if error.status == 400 and name in (await self._look(client)).adapters:
                return  # another process was faster
            if error.status in (404, 405) and "adapter" not in error.message.lower():
                raise SamError(
                    f"The server at {self._server.url} loads no adapters while it runs.",
                    "Start it with VLLM_ALLOW_RUNTIME_LORA_UPDATING=True and --enable-lora.",
                ) from None
            raise SamError(
                f"The server at {self._server.url} cannot load the adapter in {folder} "
                f"({error}{': ' if error.message else ''}{error.message}).",
                "It must see that folder under the same path, and be started with --enable-lora "
                "and a --max-lora-rank of at least the adapter's rank.",
            ) from None


def served_extractor(
    url: str,
    base_model: str = "",
    *,
    data_dir: Path,
    none_bias: float = 0.0,
    api_key: str = "",
) -> SpanExtractor:
    """An extractor on a server; of the base model only the tokenizer is loaded here.

    Args:
        base_model: hub id or folder; empty for the embedded Gemma 3 270M.
        data_dir: where the converted embedded model is kept.

    Raises:
        SamError: for a URL that is none, or a tokenizer that cannot be loaded.
    """
    path = base_model or str(prepare_base(data_dir))
    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(path)
    except Exception as error:  # each kind of tokenizer fails in its own way
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise SamError(
            f"The tokenizer of the base model {path!r} cannot be loaded: {reason}",
            "Check SAM_BASE_MODEL: a hub id such as google/gemma-3-270m, or a folder.",
        ) from error
    name = base_model or EMBEDDED_BASE
    return ServedExtractor(
        url, tokenizer, name, aliases=[path], none_bias=none_bias, api_key=api_key
    )


def _span(window: TokenizedText, mention: Mention, label: str) -> Span:
    return window.span(mention.begin, mention.end, label, probability(mention))


def _tidy(spans: list[Span], overlapping: bool) -> list[Span]:
    """Windows that overlap find a span twice: the likelier reading stays."""
    once = likeliest(spans)
    return sorted(once) if overlapping else drop_overlaps(once)
