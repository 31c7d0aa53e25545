"""A small server that speaks vLLM's protocol and answers with a tiny random model."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import torch
from transformers.convert_slow_tokenizer import bytes_to_unicode

from experts.base import BaseModel
from experts.errors import SamError
from experts.merging.adapters import load_adapter
from tests.unit.ebnf import Grammar

_BYTE_OF = {char: byte for byte, char in bytes_to_unicode().items()}


class Refusal(Exception):
    def __init__(self, status: int, message: str = "", kind: str = "BadRequestError") -> None:
        super().__init__(message)
        self.status = status
        self.body: Any = {
            "error": {"message": message, "type": kind, "param": None, "code": status}
        }


@dataclass
class StandIn:
    """Served while it is entered.

    Attributes:
        enforces: which grammars it takes: "tokens" (and text), "text" only, or "nothing", which
            takes any and follows none.
        faults: HTTP statuses that the next completions get instead of an answer.
        garbage: bytes that every completion is answered with.
        open: completions wait while it is cleared.
        seen: path and body of all requests.
    """

    base: BaseModel
    key: str = ""
    lora: bool = True
    enforces: str = "tokens"
    positions: int = 4096
    faults: list[int] = field(default_factory=list)
    garbage: bytes | None = None
    shows_ids: bool = True
    open: threading.Event = field(default_factory=threading.Event)
    seen: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    adapters: dict[str, Any] = field(default_factory=dict)

    def __enter__(self) -> StandIn:
        self.open.set()
        self._model = threading.Lock()
        self._pieces = [_bytes_of(t) for t in _vocabulary(self.base)]
        self._server = _Quiet(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.open.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def asked(self, path: str) -> list[dict[str, Any]]:
        return [body for where, body in self.seen if where == path]

    # ---- routes ----

    def models(self) -> dict[str, Any]:
        base = {
            "id": self.base.name,
            "object": "model",
            "root": self.base.path,
            "parent": None,
            "max_model_len": self.positions,
        }
        loaded = [
            {"id": name, "object": "model", "root": path, "parent": self.base.name}
            for name, (path, _) in self.adapters.items()
        ]
        return {"object": "list", "data": [base, *loaded]}

    def load(self, body: dict[str, Any]) -> str:
        name, path = body["lora_name"], body["lora_path"]
        if name in self.adapters:
            raise Refusal(400, f"The lora adapter '{name}' has already been loaded.")
        try:
            adapter = load_adapter(Path(path))
        except SamError as error:
            raise Refusal(404, f"No adapter found for {path}: {error}", "NotFoundError") from None
        self.adapters[name] = (path, adapter.products())
        return f"Success: LoRA adapter '{name}' added successfully."

    def tokenize(self, body: dict[str, Any]) -> dict[str, Any]:
        special = body.get("add_special_tokens", True)
        tokens = self.base.tokenizer.encode(body["prompt"], add_special_tokens=special)
        return {"count": len(tokens), "max_model_len": self.positions, "tokens": tokens}

    def complete(self, body: dict[str, Any]) -> dict[str, Any] | bytes:
        self.open.wait()
        if self.faults:
            raise Refusal(self.faults.pop(0), "the engine has a bad day", "InternalServerError")
        if self.garbage is not None:
            return self.garbage
        model, deltas = body["model"], {}
        if model in self.adapters:
            deltas = self.adapters[model][1]
        elif model != self.base.name:
            raise Refusal(404, f"The model `{model}` does not exist.", "NotFoundError")
        spec = (body.get("structured_outputs") or {}).get("grammar")
        if spec is not None and "Token(" in spec and self.enforces == "text":
            raise Refusal(400, "Grammar error: unknown function Token")
        grammar = None if spec is None or self.enforces == "nothing" else Grammar(spec)
        with self._model, torch.inference_mode(), self.base.adapted(deltas):
            tokens, values = self._decode(body, grammar)
        reply = self._choice(body, tokens, values)
        return {"id": "cmpl-1", "object": "text_completion", "model": model, "choices": [reply]}

    def _choice(
        self, body: dict[str, Any], tokens: list[int], values: list[float]
    ) -> dict[str, Any]:
        decode = self.base.tokenizer.decode
        by_id = body.get("return_tokens_as_token_ids") and self.shows_ids
        shown = [f"token_id:{t}" if by_id else decode([t]) for t in tokens]
        return {
            "index": 0,
            "text": decode(tokens),
            "finish_reason": "length" if len(tokens) == body["max_tokens"] else "stop",
            "token_ids": tokens if body.get("return_token_ids") and self.shows_ids else None,
            "logprobs": {
                "tokens": shown,
                "token_logprobs": values,
                "top_logprobs": [{s: v} for s, v in zip(shown, values, strict=True)],
                "text_offset": [0] * len(tokens),
            },
        }

    def _decode(
        self, body: dict[str, Any], grammar: Grammar | None
    ) -> tuple[list[int], list[float]]:
        """Greedy; log probabilities among what the grammar allows, as vLLM masks before it counts."""
        eos = self.base.tokenizer.eos_token_id
        tokens: list[int] = []
        values: list[float] = []
        state = None if grammar is None else grammar.start
        while len(tokens) < body["max_tokens"]:
            ids = torch.tensor([[*body["prompt"], *tokens]])
            logits = self.base.model(ids).logits[0, -1].float()
            if grammar is not None and state is not None:
                allowed = grammar.allowed(state, self._pieces, eos)
                mask = torch.full_like(logits, -torch.inf)
                mask[allowed] = 0
                logits = logits + mask
            scores = logits.log_softmax(-1)  # before the bias, as vLLM reports them
            for biased, bias in body.get("logit_bias", {}).items():
                assert -100 <= bias <= 100
                logits[int(biased)] += bias
            token = int(logits.argmax())
            tokens.append(token)
            values.append(max(float(scores[token]), -9999.0))
            if token == eos or self._stops(body, tokens):
                break
            if grammar is not None and state is not None:
                state = grammar.after(state, token, self._pieces[token])
        return tokens, values

    def _stops(self, body: dict[str, Any], tokens: list[int]) -> bool:
        text = self.base.tokenizer.decode(tokens)
        return any(stop in text for stop in body.get("stop") or [])


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has gone is nothing to print."""


def _handler(stand_in: StandIn) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            self._answer({})

        def do_POST(self) -> None:
            self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def _answer(self, body: dict[str, Any]) -> None:
            stand_in.seen.append((self.path, body))
            try:
                status, content = 200, self._route(body)
            except Refusal as error:
                status, content = error.status, error.body
            raw = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            if not isinstance(content, bytes):
                self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def _route(self, body: dict[str, Any]) -> Any:
            given = self.headers.get("Authorization")
            if stand_in.key and self.path.startswith("/v1") and given != f"Bearer {stand_in.key}":
                refusal = Refusal(401)
                refusal.body = {"error": "Unauthorized"}
                raise refusal
            if self.path == "/v1/models":
                return stand_in.models()
            if self.path == "/tokenize":
                return stand_in.tokenize(body)
            if self.path == "/v1/completions":
                return stand_in.complete(body)
            if self.path == "/v1/load_lora_adapter" and stand_in.lora:
                return stand_in.load(body).encode()
            refusal = Refusal(404)
            refusal.body = {"error": {"message": "Not Found", "type": "Not Found", "code": 404}}
            raise refusal

    return Handler


def _vocabulary(base: BaseModel) -> Iterator[str | None]:
    special = set(base.tokenizer.all_special_ids)
    for i in range(len(base.tokenizer)):
        token = base.tokenizer.convert_ids_to_tokens(i)
        yield None if i in special else token


def _bytes_of(token: str | None) -> bytes:
    """A byte-level token's bytes; none for special tokens, and for those of other tokenizers."""
    if token is None or any(char not in _BYTE_OF for char in token):
        return b""
    return bytes(_BYTE_OF[char] for char in token)
