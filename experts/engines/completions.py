"""What is asked of a vLLM server and how its replies are taken apart (vLLM 0.33's protocol)."""

from __future__ import annotations

import logging
import math
from enum import Enum
from typing import Any

import httpx

from experts.engines.answers import Piece
from experts.engines.grammar import text_grammar, token_grammar
from experts.engines.server import Refused, Server
from experts.errors import SamError
from experts.prompt import Prompter, TokenizedText

__all__ = ["Enforced", "completion_body", "pieces_of", "probe", "start_hint"]

log = logging.getLogger(__name__)

_TRIAL = " zigzag zigzag"  # what no model says unless a grammar makes it
_SAMPLE = "Ada met Grace in Paris.\n\nperson: Ada\n"
_ID = "token_id:"  # how vLLM shows a token by number


class Enforced(Enum):
    """What kind of grammar a server holds its answers to."""

    TOKENS = "tokens"
    TEXT = "text"
    NOTHING = "nothing"


def start_hint(base_model: str) -> str:
    """How to start a server that serves a base model, for messages."""
    return (
        f"start it with: VLLM_ALLOW_RUNTIME_LORA_UPDATING=True vllm serve {base_model} "
        "--enable-lora --max-lora-rank 64"
    )


def completion_body(
    model: str,
    prompt: list[int],
    text: TokenizedText,
    prompter: Prompter,
    enforced: Enforced,
) -> dict[str, Any]:
    """A greedy completion of a prompt, held to the valid answers about a text."""
    end_id = prompter.list_end
    # The token that ends all generation ends a grammar by itself.
    own_end = end_id != prompter.tokenizer.eos_token_id
    newline = str(prompter.tokenizer.decode([prompter.mention_end]))
    end = str(prompter.tokenizer.decode([end_id])) if own_end else ""
    # At worst the answer copies every token, each a mention with a line break of its own.
    body = _completion(model, prompt, 2 * len(text.tokens) + 2)
    if enforced is Enforced.TOKENS:
        grammar = token_grammar(text, prompter.mention_end, end_id if own_end else None)
        body["structured_outputs"] = {"grammar": grammar}
    elif enforced is Enforced.TEXT:
        body["structured_outputs"] = {"grammar": text_grammar(text, newline, end)}
    if end and enforced is not Enforced.TEXT:
        # Saves the token after the end. Over characters, a mention's line break and the first of
        # the end's look the same.
        body["stop"] = [end]
    return body


def _completion(model: str, prompt: list[int], max_tokens: int) -> dict[str, Any]:
    return {
        "model": model,
        "prompt": prompt,
        "max_tokens": max_tokens,
        "temperature": 0.0,
        "repetition_penalty": 1.0,  # else as the model's generation_config.json has it
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "logprobs": 1,
        "return_token_ids": True,
        "return_tokens_as_token_ids": True,
        "skip_special_tokens": False,
        "include_stop_str_in_output": True,
    }


def pieces_of(reply: Any, server: Server) -> list[Piece]:
    """The tokens of a completion with their log probabilities.

    Raises:
        SamError: if it is no completion, or has no log probabilities.
    """
    try:
        choice = reply["choices"][0]
        logprobs = choice.get("logprobs")
        if not isinstance(logprobs, dict):
            raise server.strange("a completion without log probabilities")
        values = list(logprobs["token_logprobs"])
        shown = list(logprobs["tokens"])
        ids = choice.get("token_ids")
    except (KeyError, IndexError, TypeError, AttributeError):
        raise server.strange("something that is no completion") from None
    tokens = ids if isinstance(ids, list) and len(ids) == len(values) else shown
    if len(tokens) != len(values):
        raise server.strange("a completion whose parts do not fit together")
    return [(_token(t), _number(v)) for t, v in zip(tokens, values, strict=True)]


def _token(value: object) -> int | str:
    """A token id, as number or as vLLM writes it, else the token's text."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value if 0 <= value < 2**31 else ""
    if not isinstance(value, str):
        return ""
    number = value.removeprefix(_ID)
    if number != value and number.isascii() and number.isdigit() and len(number) < 10:
        return int(number)
    return value


def _number(value: object) -> float:
    usable = isinstance(value, int | float) and not isinstance(value, bool)
    try:
        return float(value) if usable else -math.inf  # type: ignore[arg-type]
    except OverflowError:
        return -math.inf


async def probe(
    client: httpx.AsyncClient, server: Server, base: str, prompter: Prompter
) -> Enforced:
    """Try on a made-up text what a server can do.

    Raises:
        SamError: if its tokenizer is another than ours.
    """
    await _check_tokenizer(client, server, base, prompter)
    prompt = [*prompter.prefix(prompter.text(_SAMPLE)), *prompter.query("person")]
    trial = prompter.text(_TRIAL)
    wanted = list(trial.tokens)
    tokens = " ".join(f"Token({token})" for token in wanted)
    failed: Refused | None = None
    for kind, grammar in ((Enforced.TOKENS, tokens), (Enforced.TEXT, f'"{_TRIAL}"')):
        body = _completion(base, prompt, 4 * len(_TRIAL) if kind is Enforced.TEXT else len(wanted))
        body["structured_outputs"] = {"grammar": f"root ::= {grammar}\n"}
        try:
            reply = await server.post(client, "/v1/completions", body)
        except Refused as error:
            failed = error if error.status >= 500 else failed
            continue
        pieces = [token for token, _ in pieces_of(reply, server)]
        if kind is Enforced.TOKENS and pieces[: len(wanted)] == wanted:
            return kind
        if kind is Enforced.TEXT and _shown(pieces, prompter).startswith(_TRIAL.strip()):
            return kind
    if failed is not None:
        raise SamError(
            f"The server at {server.url} could not answer ({failed}).",
            "See what it has logged, and try again.",
        )
    log.warning(
        "the server at %s enforces no grammar: its answers are cut where they are not valid",
        server.url,
    )
    return Enforced.NOTHING


def _shown(pieces: list[int | str], prompter: Prompter) -> str:
    ids = [piece for piece in pieces if isinstance(piece, int)]
    words = [piece for piece in pieces if isinstance(piece, str)]
    return ("".join(words) if words else str(prompter.tokenizer.decode(ids))).lstrip()


async def _check_tokenizer(
    client: httpx.AsyncClient, server: Server, base: str, prompter: Prompter
) -> None:
    body = {"model": base, "prompt": _SAMPLE, "add_special_tokens": False}
    try:
        reply = await server.post(client, "/tokenize", body, retry_5xx=False)
    except Refused:  # a server that is not vLLM, or hides this
        return
    theirs = reply.get("tokens") if isinstance(reply, dict) else None
    ours = prompter.tokenizer.encode(_SAMPLE, add_special_tokens=False)
    if isinstance(theirs, list) and theirs != ours:
        raise SamError(
            f"The server at {server.url} has another tokenizer than the base model.",
            f"It serves another model: {server.start}",
        )
