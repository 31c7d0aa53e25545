"""Find the entities of this model in texts: needs torch, transformers and peft, and nothing else.

    python predict.py texts.txt > found.jsonl                    # a text a line, or jsonl with "text"
    python predict.py texts.txt --types "ship, harbour" --base FOLDER-OR-HUB-ID

Writes a JSON object a line: {"text", "entities": [{"start", "end", "label", "score"}]}. Offsets count
Unicode characters, "end" is the first one after the entity. The decoder can only copy words of the
text, so every entity is a piece of it. From Python: ``Model("FOLDER").extract(texts, types)``.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

import regex  # comes with transformers
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

BASE = "google/gemma-3-270m"
ADAPTERS = (".",)  # folders of adapters whose answers are united

TEXT, ASK, NOTHING = "Text:", " is a", " It"
ENDS_MENTION, ENDS_LIST = ("\n", "\t"), ("\n\n", "\n\n\n", "\t\t", "\t", "\r")
UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
WORD = (
    rf"(?V1)[{UNSPACED}]\p{{M}}*|(?:\p{{N}}\p{{M}}*)+|(?:[\p{{L}}--[{UNSPACED}]]\p{{M}}*)+"
    r"|(?![\s\x1c-\x1f])\X"
)
CALIBRATION = 0.5
MOST_TOKENS, LEAST_TOKENS, OVERLAP_WORDS = 320, 16, 40  # of the windows of a long text

ROWS = 32  # read at a time
Ids = list[int]
Word = tuple[int, int, Ids]  # offsets and tokens
Found = tuple[int, int, str, float]  # offsets, type, probability
Path_ = tuple[int, ...]


class Answer:
    """One type's answer: mentions copied from the text, from left to right."""

    def __init__(self, tokens: Ids, first: Ids, end: int, stop: int) -> None:
        self.tokens, self.first, self.end, self.stop = tokens, first, end, stop
        self.borders = set(first)
        self.written: Ids = []
        self.mentions: list[tuple[int, int, float]] = []
        self.places: list[tuple[int, int]] = []  # where the copied tokens may stand
        self.cursor, self.log_p, self.done = 0, 0.0, False

    def starts(self) -> Ids:
        return [t for t in self.first[:-1] if t >= self.cursor]

    def allowed(self) -> Ids:
        """Tokens that lead to a valid answer."""
        if not self.places:
            return sorted({self.stop, *(self.tokens[t] for t in self.starts())})
        found = {self.tokens[n] for _, n in self.places if n < len(self.tokens)}
        if any(n in self.borders for _, n in self.places):
            found.add(self.end)
        return sorted(found)

    def push(self, token: int, log_p: float) -> None:
        self.written.append(token)
        if not self.places and token == self.stop:
            self.done = True
        elif self.places and token == self.end:
            begin, stop = next(place for place in self.places if place[1] in self.borders)
            self.mentions.append((begin, stop, min(self.log_p + log_p, 0.0)))
            self.places, self.cursor = [], stop
        else:
            if not self.places:
                self.places, self.log_p = [(t, t) for t in self.starts()], 0.0
            n_tokens = len(self.tokens)
            self.places = [
                (b, n + 1) for b, n in self.places if n < n_tokens and self.tokens[n] == token
            ]
            self.log_p += log_p


class Window:
    """A text, or a part of a long one, with its answers for every type."""

    def __init__(self, source: int, words: list[Word], prefix: Ids) -> None:
        self.source, self.words, self.prefix = source, words, prefix
        self.tokens = [token for _, _, ids in words for token in ids]
        self.first = [0]
        for _, _, ids in words:
            self.first.append(self.first[-1] + len(ids))
        self.answers: dict[str, Answer] = {}

    def offsets(self, begin: int, end: int) -> tuple[int, int]:
        return self.words[self.first.index(begin)][0], self.words[self.first.index(end) - 1][1]


class Model:
    """The base model with the adapters of a folder."""

    def __init__(self, folder: str, base: str = "", device: str = "", dtype: str = "") -> None:
        here, base = Path(folder), base or BASE
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        kind = getattr(torch, dtype or ("float32" if device == "cpu" else "bfloat16"))
        own = (here / "tokenizer_config.json").is_file()
        self.tokenizer: Any = AutoTokenizer.from_pretrained(here if own else base)
        plain: Any = AutoModelForCausalLM.from_pretrained(base, dtype=kind)
        self.positions = getattr(plain.config.get_text_config(), "max_position_embeddings", None)
        self.adapters = {name.replace(".", "default"): here / name for name in ADAPTERS}
        first, *others = self.adapters
        self.model: Any = PeftModel.from_pretrained(plain, self.adapters[first], first)
        for name in others:
            self.model.load_adapter(self.adapters[name], name)
        self.blank: dict[tuple[str, ...], dict[str, float]] = {}
        self.model.to(device).eval()
        self.ids = cache(self._ids)
        self.end = self._single(ENDS_MENTION, None)
        self.stop = self._single(ENDS_LIST, self.end)

    def extract(self, texts: Sequence[str], types: Sequence[str]) -> list[list[Found]]:
        """For each text (start, end, type, probability) of its entities, sorted."""
        answers = []
        for adapter in self.adapters:
            self.model.set_adapter(adapter)
            with torch.inference_mode():
                answers.append(self._read(texts, list(types), adapter))
        if len(answers) == 1:
            return answers[0]
        return [without_overlaps([*chain(*found)]) for found in zip(*answers, strict=True)]

    # ---- texts to tokens

    def _ids(self, piece: str) -> Ids:
        piece = regex.sub("[\ud800-\udfff]", "\ufffd", piece)
        # Behind a line break: some tokenizers put a space before every text.
        lead = self.tokenizer.encode("\n", add_special_tokens=False)
        ids = self.tokenizer.encode("\n" + piece, add_special_tokens=False)
        if ids[: len(lead)] == lead and len(ids) > len(lead):
            return list(ids[len(lead) :])
        return list(self.tokenizer.encode(piece, add_special_tokens=False))

    def _single(self, candidates: Sequence[str], taken: int | None) -> int:
        for candidate in candidates:
            ids = self.tokenizer.encode(candidate, add_special_tokens=False)
            if ids and ids[-1] != taken and self.tokenizer.decode(ids[-1:]) == candidate:
                return int(ids[-1])
        return int(self.tokenizer.eos_token_id)

    def words(self, text: str) -> list[Word]:
        words: list[Word] = []
        before = -1
        for match in regex.finditer(WORD, text):
            ids = self.ids(" " * (match.start() != before) + match[0])
            before = match.end()
            if ids:
                words.append((*match.span(), ids))
        return words

    def prefix(self, words: Sequence[Word]) -> Ids:
        start = self.tokenizer.bos_token_id
        ids = [*([] if start is None else [start]), *self.ids(TEXT)]
        return [*ids, *(token for _, _, own in words for token in own), self.end]

    def windows(self, source: int, words: list[Word], limit: int) -> Iterator[Window]:
        begin = 0
        while begin < len(words):
            end = size = 0
            for end in range(begin, len(words)):
                size += len(words[end][2])
                if size > limit:
                    break
            else:
                end = len(words)
            if end > begin:
                yield Window(source, words[begin:end], self.prefix(words[begin:end]))
            if end < len(words) and len(words[end][2]) > limit:
                begin = end + 1  # a word that is too long to be read
            elif end == len(words):
                return
            else:
                begin = max(begin + 1, end - min(OVERLAP_WORDS, (end - begin) // 2))

    # ---- reading

    def scores(self, rows: list[tuple[Ids, Ids]]) -> list[torch.Tensor]:
        """For each (sequence, candidates) the log-probabilities of what may follow it."""
        found: dict[int, torch.Tensor] = {}
        order = sorted(range(len(rows)), key=lambda i: len(rows[i][0]))
        for at in range(0, len(order), ROWS):
            part = order[at : at + ROWS]
            longest = max(len(rows[i][0]) for i in part)
            gaps = [longest - len(rows[i][0]) for i in part]
            ids = [[0] * gap + rows[i][0] for gap, i in zip(gaps, part, strict=True)]
            real = torch.tensor([[0] * gap + [1] * (longest - gap) for gap in gaps])
            logits = self.model(
                input_ids=torch.tensor(ids).to(self.model.device),
                attention_mask=real.to(self.model.device),
                position_ids=(real.cumsum(1) - 1).clamp(min=0).to(self.model.device),
                use_cache=False,
            ).logits[:, -1].float().cpu()  # fmt: skip
            for i, row in zip(part, logits, strict=True):
                found[i] = row[rows[i][1]].log_softmax(-1)
        return [found[i] for i in range(len(rows))]

    def _read(self, texts: Sequence[str], types: list[str], adapter: str) -> list[list[Found]]:
        names = {name: (*self.ids(f" {name}"), self.end) for name in types}
        nodes: dict[Path_, dict[int, None]] = {}
        for ids in names.values():
            for i, token in enumerate(ids):
                nodes.setdefault(ids[:i], {})[token] = None
        tree = {path: list(after) for path, after in nodes.items() if len(after) > 1}
        queries = {name: self.ids(f"{name}:") for name in types}
        limit = MOST_TOKENS
        if self.positions:
            around = len(self.prefix([])) + max(map(len, queries.values()))
            limit = min(limit, (self.positions - around) // 3)
        if limit < LEAST_TOKENS:
            raise SystemExit("An entity type is too long for this base model.")
        spans: list[list[Found]] = [[] for _ in texts]
        verdicts: list[dict[tuple[int, int, str], float]] = [{} for _ in texts]
        blank = self.blank.setdefault((adapter, *types), {})
        for i, text in enumerate(texts):
            for window in self.windows(i, self.words(text), limit):
                self._answer(window, queries)
                claims = contested(window)
                if claims and not blank:
                    said = self._verdict(self.prefix([]), self.ids(NOTHING), list(tree), tree)
                    blank |= {name: likely(ids, said) for name, ids in names.items()}
                for name, answer in window.answers.items():
                    for begin, end, log_p in answer.mentions:
                        score = max(math.exp(log_p), sys.float_info.min)
                        spans[i].append((*window.offsets(begin, end), name, score))
                for (begin, end), claimed in claims.items():
                    ways = {names[name][:n] for name in claimed for n in range(len(names[name]))}
                    asked = [path for path in tree if path in ways]
                    said = self._verdict(window.prefix, window.tokens[begin:end], asked, tree)
                    for name in claimed:
                        verdict = likely(names[name], said) - CALIBRATION * blank[name]
                        verdicts[i][(*window.offsets(begin, end), name)] = verdict
        return [settled(likeliest(s), v) for s, v in zip(spans, verdicts, strict=True)]

    def _answer(self, window: Window, queries: dict[str, Ids]) -> None:
        """Let every type be answered, all side by side."""
        window.answers = {
            name: Answer(window.tokens, window.first, self.end, self.stop) for name in queries
        }
        going = list(queries)
        while going:
            rows = [
                ([*window.prefix, *queries[name], *window.answers[name].written],
                 window.answers[name].allowed())
                for name in going
            ]  # fmt: skip
            for name, (_, allowed), log_p in zip(going, rows, self.scores(rows), strict=True):
                best, choice = log_p.max(0)
                answer = window.answers[name]
                answer.push(allowed[int(choice)], float(best))
                while not answer.done and len(only := answer.allowed()) == 1:
                    answer.push(only[0], 0.0)
            going = [name for name in going if not window.answers[name].done]

    def _verdict(
        self, prefix: Ids, mention: Ids, paths: list[Path_], tree: dict[Path_, Ids]
    ) -> dict[Path_, dict[int, float]]:
        """Which of the types' names may follow "<mention> is a", node by node of their tree."""
        if not paths:
            return {}
        asked = [*prefix, *mention, *self.ids(ASK)]
        scores = self.scores([([*asked, *path], tree[path]) for path in paths])
        return {
            path: dict(zip(tree[path], row.tolist(), strict=True))
            for path, row in zip(paths, scores, strict=True)
        }


def likely(ids: Path_, said: dict[Path_, dict[int, float]]) -> float:
    """Log-probability of a type's name."""
    return sum(said[ids[:i]][token] for i, token in enumerate(ids) if ids[:i] in said)


def contested(window: Window) -> dict[tuple[int, int], dict[str, None]]:
    """Mentions that overlap those of another type, with the types that claim them."""
    flat = [(b, e, name) for name, a in window.answers.items() for b, e, _ in a.mentions]
    claims: dict[tuple[int, int], dict[str, None]] = {}
    for begin, end, name in flat:
        if any(o != name and b < end and begin < e for b, e, o in flat):
            claims.setdefault((begin, end), {})[name] = None
    return claims


def overlap(a: Found, b: Found) -> bool:
    """Whether they share a character."""
    return a[0] < b[1] and b[0] < a[1]


def likeliest(spans: Sequence[Found]) -> list[Found]:
    """Every span once, with its highest probability."""
    best: dict[tuple[int, int, str], Found] = {}
    for span in spans:
        if span[:3] not in best or span[3] > best[span[:3]][3]:
            best[span[:3]] = span
    return sorted(best.values())


def without_overlaps(spans: Sequence[Found]) -> list[Found]:
    """The likeliest of those that overlap."""
    kept: list[Found] = []
    for span in sorted(likeliest(spans), key=lambda s: (-s[3], s[0] - s[1], s[0], s[2])):
        if not any(overlap(span, other) for other in kept):
            kept.append(span)
    return sorted(kept)


def settled(spans: Sequence[Found], verdicts: dict[tuple[int, int, str], float]) -> list[Found]:
    """Of mentions that overlap the longest, of equally long ones the likeliest."""
    claim = {s[:3]: math.log(s[3]) + verdicts.get(s[:3], 0.0) for s in spans}
    kept: list[Found] = []
    for span in sorted(spans, key=lambda s: (s[0] - s[1], -claim[s[:3]], s[0], s[2])):
        if not any(overlap(span, other) for other in kept):
            kept.append(span)
    result = []
    for span in kept:
        rivals = [claim[s[:3]] for s in spans if overlap(s, span)]
        share = 1 / sum(math.exp(rival - claim[span[:3]]) for rival in rivals)
        result.append((*span[:3], max(span[3] * share, 1e-300)))
    return sorted(result)


def main() -> None:
    """What is asked for on the command line."""
    here = Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("texts", nargs="?", default="-", help="txt or jsonl file; - reads input")
    parser.add_argument("--types", help="entity types, separated by commas; else of labels.json")
    parser.add_argument("--base", default=BASE, help=f"base model, default {BASE}")
    parser.add_argument("--device", default="", help="cpu, cuda, mps; chosen when not given")
    parser.add_argument("--dtype", default="", help="float32 or bfloat16; chosen when not given")
    asked = parser.parse_args()
    labels = json.loads((here / "labels.json").read_text("utf-8"))
    types = [t.strip() for t in (asked.types or "").split(",") if t.strip()]
    types = types or [label["name"] for label in labels]
    raw = sys.stdin.read() if asked.texts == "-" else Path(asked.texts).read_text("utf-8")
    lines = [line for line in raw.split("\n") if line.strip()]
    texts = [json.loads(x)["text"] if asked.texts.endswith(".jsonl") else x for x in lines]
    least = {label["name"]: label.get("threshold", 0.0) for label in labels}
    model = Model(str(here), asked.base, asked.device, asked.dtype)
    for text in texts:
        keys = ("start", "end", "label", "score")
        spans = [f for f in model.extract([text], types)[0] if f[3] >= least.get(f[2], 0.0)]
        found = [dict(zip(keys, f, strict=True)) for f in spans]
        sys.stdout.write(json.dumps({"text": text, "entities": found}, ensure_ascii=False) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
