"""``sam-ui learn``: an adapter learns from corrected sentences."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sam_ui.cli_experts import Json
from sam_ui.cli_output import print_json, print_table, progress_line

if TYPE_CHECKING:
    from experts.evaluate import Report
    from experts.learning import Learned
    from experts.spans import Example
    from sam_ui.cli_predict import Request

__all__ = ["learn"]

REPORT = "learning.json"


def learn(
    corrections: Annotated[Path, typer.Argument(help="Corrected texts with their entities.")],
    types: Annotated[str, typer.Option("--types", help="Entity types, separated by commas.")],
    out: Annotated[Path, typer.Option(help="Folder for the new adapter.")],
    adapter: Annotated[
        Path | None,
        typer.Option(help="Adapter to go on from; by default the recommended merge."),
    ] = None,
    column: Annotated[
        str | None, typer.Option(help="Column with the texts, for csv and tsv.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of halves and order.")] = 0,
    as_json: Json = False,
) -> None:
    """Learn from corrected sentences: LoRA+ goes on from a merged adapter."""
    from experts.learning import LearningPlan, check_corrections
    from experts.learning import learn as learn_from
    from experts.merging.adapters import load_adapter
    from sam_ui.cli import _asked, _check_free, _engine
    from sam_ui.cli_predict import Request, merge_recommended, recommend

    asked = _asked(types)
    request = Request(corrections, column, asked, gold=True, samples=10, k=3, seed=seed)
    examples = check_corrections(_examples(request), asked)
    _check_free(out)
    if adapter is not None:
        load_adapter(adapter)  # refused before the base model is loaded
    engine = _engine()
    weights: dict[str, float] | None = None
    with tempfile.TemporaryDirectory() as temporary, progress_line() as tell:
        if adapter is None:
            texts, truth = [e.text for e in examples], [e.spans for e in examples]
            weights = recommend(engine, request, texts, truth, tell)
            adapter = merge_recommended(engine, weights, Path(temporary) / "merged", tell)
        out.mkdir(parents=True, exist_ok=True)
        learned = learn_from(
            engine.base, load_adapter(adapter), examples, asked, out,
            plan=LearningPlan.for_sentences(len(examples), seed=seed),
            progress=lambda done, of, said: tell(int(1000 * done), int(1000 * of), said),
        )  # fmt: skip
    document = {"adapter": str(out), "types": asked, "weights": weights, **told(learned)}
    (out / REPORT).write_text(json.dumps(document, indent=1), "utf-8")
    if as_json:
        print_json(document)
    else:
        _print(learned, out)


def _examples(request: Request) -> list[Example]:
    from experts.spans import Example
    from sam_ui.cli_predict import pieces_of

    texts, truth = request.texts()
    found = []
    for i, text in enumerate(texts):
        if truth[i] is not None:
            for piece in pieces_of(i, text):
                found.append(Example(text[piece.start : piece.end], piece.truth(truth[i]) or ()))
    return found


def told(learned: Learned) -> dict[str, Any]:
    """What ``--json`` says of a run."""
    return {
        "sentences": learned.before.sentences,
        "steps": learned.steps,
        "steps_planned": learned.of,
        "before": learned.before.to_dict(),
        "after": learned.after.to_dict(),
        "gain": learned.gain,
        "interval": list(learned.interval),
        "enough": learned.enough,
        "better": learned.better,
        "seconds": round(learned.seconds, 1),
    }


def _print(learned: Learned, out: Path) -> None:
    rows = [
        [name, score.support, _f1(learned.before, name), score.f1]
        for name, score in learned.after.per_type.items()
    ]
    micro = learned.after.micro
    rows.append(["all", micro.support, learned.before.micro.f1, micro.f1])
    print_table(["type", "entities", "F1 before", "F1 after"], rows)
    print(f"\nLearned from {learned.before.sentences} sentences; written to {out}.")
    print(sentence(learned))


def _f1(report: Report, name: str) -> float | None:
    return report.per_type[name].f1 if name in report.per_type else None


def sentence(learned: Learned) -> str:
    """The outcome in a sentence."""
    low, high = learned.interval
    change = f"F1 {learned.before.micro.f1:.2f} → {learned.after.micro.f1:.2f}"
    where = "on sentences that it had not learned from"
    if learned.steps == 0:
        return "No stage of the learning did better than before, so the adapter is as it was."
    if not learned.enough:
        return f"{change} {where}: too few entities to tell whether that is more than chance."
    if learned.better:
        return f"{change} {where} (gain {low:+.2f} to {high:+.2f})."
    return f"{change} {where}: that may be chance ({low:+.2f} to {high:+.2f})."
