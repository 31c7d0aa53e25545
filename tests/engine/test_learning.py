"""Learning from a few corrected sentences of our own samples, on the embedded base model."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from experts.merging.adapters import load_adapter
from experts.spans import Example
from sam_ui.cli import app
from sam_ui.services.engine import Engine


def test_a_bundled_expert_learns_the_words_of_a_new_domain(
    engine: Engine, samples: dict[str, list[Example]], tmp_path: Path
) -> None:
    examples = samples["lake_sediments"][:12]
    types = sorted({span.label for example in examples for span in example.spans})
    lines = [
        json.dumps(
            {
                "text": e.text,
                "entities": [{"start": s.start, "end": s.end, "label": s.label} for s in e.spans],
            }
        )
        for e in examples
    ]
    corrections = tmp_path / "corrections.jsonl"
    corrections.write_text("\n".join(lines), "utf-8")
    expert = engine.pool.get("encyclopedia").path
    arguments = ["learn", str(corrections), "--types", ", ".join(types), "--adapter", str(expert)]
    done = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path / "out"), "--json"])
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["sentences"] == 12
    assert not report["enough"], "18 entities tell nothing"
    before, after = report["before"]["micro"]["f1"], report["after"]["micro"]["f1"]
    assert after >= before
    assert report["steps"] > 0 or after == before, "what does not help is not done"
    assert load_adapter(tmp_path / "out").rank == load_adapter(expert).rank
