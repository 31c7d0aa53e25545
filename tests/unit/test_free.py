from __future__ import annotations

from experts.free import extract_freely
from tests.unit import tiny


def test_free_generation_keeps_what_occurs_in_the_text() -> None:
    found, invented = extract_freely(
        tiny.llama(), tiny.TEXTS[:2], ["gene", "person"], max_new_tokens=8
    )
    assert len(found) == 2
    assert invented >= 0
    for text, spans in zip(tiny.TEXTS, found, strict=False):
        for span in spans:
            assert span.label in ("gene", "person")
            assert text[span.start : span.end].strip() == text[span.start : span.end]
    assert invented + sum(map(len, found)) > 0, "a random model writes something"
