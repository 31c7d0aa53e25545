"""A reader of the EBNF that servers take for structured outputs: as much of it as SaM writes.

It simulates the grammar with all stacks of what is still to come at once, for any grammar whose
rules are not left-recursive, so that it shares nothing with `experts.decoding`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

__all__ = ["Grammar"]

Node = tuple  # ("token", id), ("bytes", b"…"), ("rule", name), ("seq", nodes), ("alt", nodes)
State = frozenset[tuple[Node, ...]]  # what may come: stacks, the next symbol first

_SYMBOL = re.compile(r'\s*(?:Token\((\d+)\)|"((?:[^"\\]|\\.)*)"|([A-Za-z]\w*)|([()|]))')
_ESCAPE = re.compile(r"\\(x[0-9A-Fa-f]{2}|.)")


def _unescape(text: str) -> bytes:
    def plain(match: re.Match[str]) -> str:
        what = match[1]
        if what[0] == "x":
            return chr(int(what[1:], 16))
        return {"n": "\n", "r": "\r", "t": "\t"}.get(what, what)

    return _ESCAPE.sub(plain, text).encode()


class Grammar:
    def __init__(self, text: str) -> None:
        self.rules: dict[str, Node] = {}
        for line in text.split("\n"):
            if line:
                name, body = line.split(" ::= ", 1)
                node, rest = self._alternatives(_symbols(body))
                assert not rest, line
                self.rules[name] = node
        self.start = self._closed([(("rule", "root"),)])

    def _alternatives(self, symbols: list[Node]) -> tuple[Node, list[Node]]:
        options: list[Node] = []
        sequence: list[Node] = []
        while symbols and symbols[0] != ("sign", ")"):
            symbol, *symbols = symbols
            if symbol == ("sign", "|"):
                options.append(("seq", tuple(sequence)))
                sequence = []
            elif symbol == ("sign", "("):
                inner, symbols = self._alternatives(symbols)
                assert symbols.pop(0) == ("sign", ")")
                sequence.append(inner)
            else:
                sequence.append(symbol)
        return ("alt", (*options, ("seq", tuple(sequence)))), symbols

    def _closed(self, stacks: Iterable[tuple[Node, ...]]) -> State:
        """The stacks with a terminal first, or empty ones, that these lead to."""
        waiting, seen, ready = list(stacks), set(), set()
        while waiting:
            stack = waiting.pop()
            if stack in seen:
                continue
            seen.add(stack)
            if not stack or stack[0][0] == "token":
                ready.add(stack)
                continue
            (kind, value), rest = stack[0], stack[1:]
            if kind == "bytes":
                if value:
                    ready.add(stack)
                else:
                    waiting.append(rest)
            elif kind == "rule":
                waiting.append((self.rules[value], *rest))
            elif kind == "seq":
                waiting.append((*value, *rest))
            else:
                waiting.extend((option, *rest) for option in value)
        return frozenset(ready)

    def complete(self, state: State) -> bool:
        return () in state

    def terminals(self, state: State) -> set[Node]:
        return {stack[0] for stack in state if stack}

    def after(self, state: State, token: int, piece: bytes) -> State:
        """The state after a token; without stacks if it is not allowed."""
        by_id = [stack[1:] for stack in state if stack and stack[0] == ("token", token)]
        by_bytes = self._after_bytes(state, piece) if piece else frozenset()
        return self._closed(by_id) | by_bytes

    def _after_bytes(self, state: State, piece: bytes) -> State:
        for byte in piece:
            state = self._closed(
                (("bytes", stack[0][1][1:]), *stack[1:])
                for stack in state
                if stack and stack[0][0] == "bytes" and stack[0][1][0] == byte
            )
        return state

    def allowed(self, state: State, pieces: Sequence[bytes], eos: int) -> list[int]:
        terminals = self.terminals(state)
        ids = {value for kind, value in terminals if kind == "token"}
        if any(kind == "bytes" for kind, _ in terminals):
            ids |= {i for i, piece in enumerate(pieces) if piece and self.after(state, i, piece)}
        return sorted(ids | ({eos} if self.complete(state) else set()))

    def sentences(self) -> set[tuple[object, ...]]:
        """All that a grammar without loops admits, as tuples of terminals' values."""
        found: set[tuple[object, ...]] = set()
        waiting: list[tuple[tuple[object, ...], State]] = [((), self.start)]
        while waiting:
            said, state = waiting.pop()
            if self.complete(state):
                found.add(said)
            for terminal in self.terminals(state):
                rest = self._closed(s[1:] for s in state if s and s[0] == terminal)
                waiting.append(((*said, terminal[1]), rest))
        return found


def _symbols(body: str) -> list[Node]:
    symbols: list[Node] = []
    at = 0
    while at < len(body.rstrip()):
        match = _SYMBOL.match(body, at)
        assert match, body[at:]
        token, literal, name, sign = match.groups()
        if token is not None:
            symbols.append(("token", int(token)))
        elif literal is not None:
            symbols.append(("bytes", _unescape(literal)))
        elif name is not None:
            symbols.append(("rule", name))
        else:
            symbols.append(("sign", sign))
        at = match.end()
    return symbols
