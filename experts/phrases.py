"""Names and terms that recur in texts: what a person could want to have found.

Without a model and for many languages: names are runs of capitalised words, terms are words that
keep recurring side by side. What recurs only inside something longer is left out.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

__all__ = ["MAX_SENTENCES", "Phrase", "frequent_phrases"]

MAX_SENTENCES = 2_000
"""Of longer corpora so many sentences are read, evenly spread."""
LONGEST = 5
"""Words of a phrase at most."""
TERM_SHARE = 0.3
"""Words in more sentences than this share say nothing about a corpus."""

_TOKEN = re.compile(r"[^\W_]+(?:[-‐’'.&][^\W_]+)*|\S")
_UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")
_KANJI = re.compile(r"[\u30a0-\u30ff\u3400-\u9fff\uf900-\ufaff]{2,8}")
_ROMAN = re.compile(r"[IVXLC]+")
# Function words of the commonest languages in Latin script; elsewhere frequency alone decides.
_FUNCTION_WORDS = """
    a about above after again against all also although always am an and another any are around as
    at be became because been before being below between both but by came can could did do does
    during each even ever every few first for found four from further had has have he her here him
    his how however i if in into is it its itself just last later less made many may me might more
    most much must my near never next no nor not now of off often old on once one only onto or other
    our out over own same second see seen several shall she should since so some still such taken
    than that the their them then there these they third this those three through thus to together
    too two under until up upon us used using very was we well went were what when where whether
    which while who whom whose why will with within without would year years yet you your
    aber als am an auch auf aus bei beim bis da das dass dem den der des die doch du durch ein eine
    einem einen einer eines er es für gegen hat hatte ich ihr im in ist ja kann kein keine man mehr
    mit nach nicht noch nur ob oder ohne sein seine seit sich sie sind so über um und uns unter vom
    von vor war waren was wenn wer wie wird wir wurde wurden zu zum zur zwischen
    à au aux avec ce ces cette comme dans de des deux du elle en est et être fut il ils je la le les
    leur mais même ne nous on ou où par pas plus pour qui que sa sans se ses son sont sous sur un une
    vous y était
    al ante como con contra cual cuando de del desde donde dos el ella en entre era es esta este fue
    ha han hasta la las lo los más muy no o para pero por que se ser si sin sobre su sus también un
    una y ya
    alla anche che chi ci con da dal dalla degli dei del della delle di due e era gli ha i il in la
    le lo ma nel nella non o per più quando se si sono su sul tra un una uno
    aan al bij de dat deze die dit door een en er had heeft het hij in is maar met naar niet nog of
    om onder ook op over te tot uit van voor waren was wat werd wordt ze zijn
    ao aos com da das do dos e em era foi mais na nas no nos não o os ou para pela pelo por que se
    sem seu sua um uma"""
_FUNCTION = frozenset(_FUNCTION_WORDS.split())
_INSIDE_WORDS = "of de der den des del della di da do dos du la le von van und the for"
_INSIDE = frozenset(_INSIDE_WORDS.split())
_TITLES_END = frozenset('.!?:;–—"“”„«»()[]|/')


@dataclass(frozen=True, slots=True)
class Phrase:
    """`text` as it is written most often; `count`: sentences that have it; `name`: capitalised."""

    text: str
    count: int
    name: bool


def frequent_phrases(sentences: Sequence[str], limit: int = 24) -> list[Phrase]:
    """The names and terms that recur, those that say most about the texts first.

    Args:
        sentences: any texts; at most `MAX_SENTENCES` of them are read.
        limit: phrases to return at most.

    Returns:
        Phrases in at least two sentences, no term that hardly occurs outside a longer one; where
        these are few, also names of several words that occur once.
    """
    step = max(1, -(-len(sentences) // MAX_SENTENCES))
    rows = [_tokens(text) for text in sentences[::step]]
    words = Counter(word.casefold() for row in rows for word in set(row) if word[0].isalnum())
    common = {w for w, n in words.items() if n > TERM_SHARE * len(rows) and len(rows) >= 20}
    inner = _inner_capitals(rows)
    written: dict[tuple[str, ...], Counter[str]] = {}

    def counted(runs: Iterator[tuple[str, ...]]) -> set[tuple[str, ...]]:
        seen = set()
        for run in runs:
            key = tuple(word.casefold() for word in run)
            written.setdefault(key, Counter())[" ".join(run)] += 1
            seen.add(key)
        return seen

    names: Counter[tuple[str, ...]] = Counter()
    terms: Counter[tuple[str, ...]] = Counter()
    for row in rows:
        names.update(counted(_names(row, inner)))
        terms.update(counted(_terms(row, common)))
    kept = _maximal({key: n for key, n in terms.items() if n >= 2})
    kept |= {key: n for key, n in names.items() if n >= 2}
    if len(kept) < limit:
        kept |= {key: 1 for key, n in names.items() if n == 1 and len(key) > 1}
    phrases = [_phrase(written[key], count) for key, count in kept.items()]
    weight = {p.text: _weight(p) for p in phrases}
    return sorted(phrases, key=lambda p: (-weight[p.text], p.text))[:limit]


def _tokens(text: str) -> list[str]:
    """Words and signs; scripts without spaces give runs of the signs that names are made of."""
    if not _UNSPACED.search(text):
        return _TOKEN.findall(text)
    return [part for run in _KANJI.findall(text) for part in (run, "|")]


def _capital(word: str) -> bool:
    return word[0].isupper() and any(c.isalpha() for c in word) and len(word) > 1


def _inner_capitals(rows: Sequence[Sequence[str]]) -> dict[str, float]:
    """Word -> how often it is capitalised where nothing else asks for it: inside a sentence."""
    capital: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for row in rows:
        for before, word in pairwise(row):
            if word[0].isalpha() and before not in _TITLES_END:
                total[word.casefold()] += 1
                capital[word.casefold()] += word[0].isupper()
    return {word: capital[word] / n for word, n in total.items()}


def _names(row: Sequence[str], inner: dict[str, float]) -> Iterator[tuple[str, ...]]:
    """Runs of capitalised words, with a short word such as “of” inside. At the beginning of a
    sentence the word counts that is a name elsewhere, or else stands before another.
    """
    run: list[str] = []
    waiting: list[str] = []
    words = [*row, "."]
    for number, word in enumerate(words):
        begins = number == 0 or row[number - 1] in _TITLES_END
        named = _capital(word) and word.casefold() not in _FUNCTION
        if named and begins:
            named = inner.get(word.casefold(), float(_capital(words[number + 1]))) > 0.5
        if named:
            run += [*waiting, word]
            waiting = []
        elif run and not waiting and word in _INSIDE:
            waiting = [word]
        else:
            if run and len(run) <= LONGEST and (len(run) > 1 or _tells(run[0])):
                yield tuple(run)
            run, waiting = [], []


def _tells(word: str) -> bool:
    """Whether a word alone is worth showing: no two letters, no numeral."""
    return len(word) > 2 and not _ROMAN.fullmatch(word)


def _terms(row: Sequence[str], common: set[str]) -> Iterator[tuple[str, ...]]:
    """Two and three words side by side, no function word or number among them, and no name behind
    the first.
    """
    content = [
        word[0].isalpha() and len(word) > 2
        and word.casefold() not in _FUNCTION and word.casefold() not in common
        for word in row
    ]  # fmt: skip
    for size in (2, 3):
        for start in range(len(row) - size + 1):
            words = row[start : start + size]
            if start and _capital(words[0]) and _capital(row[start - 1]):
                continue  # the end of a name
            if all(content[start : start + size]) and not any(map(_capital, words[1:])):
                yield tuple(words)
    for word in row:
        if _UNSPACED.match(word):
            yield (word,)


def _maximal(found: dict[tuple[str, ...], int]) -> dict[tuple[str, ...], int]:
    """Without what hardly ever stands outside something longer."""
    inside: Counter[tuple[str, ...]] = Counter()
    for key, count in found.items():
        parts = {
            key[a:b]
            for a in range(len(key))
            for b in range(a + 1, len(key) + 1)
            if b - a < len(key)
        }
        for part in parts:
            inside[part] += count
    return {key: n for key, n in found.items() if n - inside[key] >= max(2, 0.4 * n)}


def _phrase(written: Counter[str], count: int) -> Phrase:
    text = max(written, key=lambda form: (written[form], form))
    return Phrase(text, count, _is_name(written))


def _is_name(written: Counter[str]) -> bool:
    return all(_capital(w) or w in _INSIDE for w in next(iter(written)).split(" "))


def _weight(phrase: Phrase) -> float:
    """Names before terms, frequent before rare, though not in proportion."""
    words = len(phrase.text.split(" "))
    return math.pow(phrase.count, 0.6) * (1.5 if phrase.name else 1.0) * (1.3 if words > 1 else 1.0)
