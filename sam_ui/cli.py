"""The ``sam-ui`` command: everything the interface does, without a browser.

Heavy imports stand inside the commands, so that ``--help`` and mistakes answer at once.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from experts.errors import SamError
from sam_ui.cli_convert import convert
from sam_ui.cli_experts import Json, experts_app
from sam_ui.cli_learn import learn
from sam_ui.cli_merge import NEEDS, check_inputs, inputs, weights, weights_from
from sam_ui.cli_merging import check_full, compare, unmerge, write_full
from sam_ui.cli_output import (
    expert_rows,
    fail_politely,
    print_experts,
    print_json,
    print_table,
    progress_line,
)

if TYPE_CHECKING:
    from experts.corpus import Corpus
    from experts.spans import Span
    from sam_ui.services.engine import Engine, MatchResult

__all__ = ["app", "main"]

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="SaM: select and merge LoRA experts into a named-entity model for your own texts.",
)
app.add_typer(experts_app, name="experts")

CorpusPath = Annotated[Path, typer.Argument(help="pdf, docx, txt, csv, tsv, jsonl or CoNLL file.")]
Types = Annotated[str, typer.Option("--types", help="Entity types, separated by commas.")]
Column = Annotated[str | None, typer.Option(help="Column with the texts, for csv and tsv.")]
Gold = Annotated[bool, typer.Option("--gold", help="Use the entities that the corpus holds.")]
Samples = Annotated[int, typer.Option(min=1, max=1000, help="Sentences to probe the experts on.")]
TopK = Annotated[int, typer.Option("--k", min=1, help="Experts to select by each criterion.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of the sampling.")]


def main() -> None:
    """Entry point of the command; exits with 0, 1, 2 or 130."""
    sys.exit(fail_politely(lambda: app(standalone_mode=True)))


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port to listen on.")] = None,
    as_json: Json = False,
) -> None:
    """Start the app."""
    from sam_ui.app import serve as start
    from sam_ui.settings import Settings

    given = {"host": host, "port": port}
    settings = Settings(**{k: v for k, v in given.items() if v is not None})  # type: ignore[arg-type]
    if as_json:
        print_json({"host": settings.host, "port": settings.port})
    start(settings)


@app.command()
def prepare(as_json: Json = False) -> None:
    """Convert the embedded base model, once; `make run` does it for you."""
    from sam_ui.settings import Settings

    settings = Settings()
    folder = Path(settings.base_model)
    if not settings.base_model:
        from experts.embedded import prepare_base

        folder = prepare_base(settings.data_dir)
    if as_json:
        print_json({"base_model": str(folder)})


@app.command()
def methods(as_json: Json = False) -> None:
    """List the merge methods with their parameters."""
    from experts.merging.registry import methods as all_methods

    rows: list[dict[str, Any]] = [
        {
            "key": m.key,
            "name": m.name,
            "summary": m.summary,
            "paper": m.paper,
            "needs": m.needs,
            "exact": m.exact,
            "parameters": [
                {"name": p.name, "default": p.default, "range": p.range_text, "meaning": p.meaning}
                for p in m.parameters
            ],
        }
        for m in all_methods()
    ]
    if as_json:
        print_json(rows)
        return
    for row in rows:
        print(f"{row['key']}: {row['summary']} ({row['paper']})")
        if row["needs"] != "none":
            print(f"  needs {NEEDS[row['needs']]}")
        for parameter in row["parameters"]:
            print(
                f"  --param {parameter['name']}={parameter['default']}  "
                f"{parameter['range']}: {parameter['meaning']}"
            )


@app.command()
def match(
    corpus: CorpusPath,
    types: Types,
    samples: Samples = 10,
    k: TopK = 3,
    seed: Seed = 0,
    gold: Gold = False,
    column: Column = None,
    as_json: Json = False,
) -> None:
    """Score every expert on the corpus and recommend weights."""
    asked, texts = _asked(types), _sentences(corpus, column, gold)
    result = _match(_engine(), texts, asked, samples, k, seed, gold)
    document: dict[str, Any] = {
        "corpus": str(corpus),
        "sentences": len(texts.sentences),
        "types": asked,
        "samples": len(result.probe),
        "k": k,
        "seed": seed,
        "experts": expert_rows(result),
        "recommended": {
            "single": result.single,
            "similarity": result.by_similarity,
            "probe": result.by_probe,
        },
    }
    if as_json:
        print_json(document)
        return
    print_experts(document["experts"])
    if not any(expert.enough for expert in result.experts):
        print("The probe found too few spans to tell; the weights follow similarity alone.")


@app.command()
def merge(
    out: Annotated[Path, typer.Option(help="Folder for the merged adapter.")],
    expert: Annotated[list[str] | None, typer.Option(help="NAME=WEIGHT; repeat it.")] = None,
    from_: Annotated[
        Path | None, typer.Option("--from", help="Output of `sam-ui match --json`.")
    ] = None,
    criterion: Annotated[
        Literal["single", "similarity", "probe"],
        typer.Option(help="Which recommendation of --from to merge."),
    ] = "single",
    method: Annotated[
        str, typer.Option(help="Merge method; `sam-ui methods` lists them.")
    ] = "linear",
    param: Annotated[list[str] | None, typer.Option(help="k=v of the method; repeat it.")] = None,
    rank: Annotated[
        int | None, typer.Option(min=1, help="Rank of the result; by default nothing is lost.")
    ] = None,
    texts: Annotated[
        Path | None, typer.Option(help="Corpus for the methods that read texts.")
    ] = None,
    types: Annotated[
        str | None, typer.Option(help="Entity types to ask the texts for, separated by commas.")
    ] = None,
    gold: Gold = False,
    column: Column = None,
    full: Annotated[bool, typer.Option("--full", help="Save the whole merged model, too.")] = False,
    as_json: Json = False,
) -> None:
    """Merge experts into one adapter in PEFT's format."""
    from experts.merging.registry import get_method, parse_parameters
    from sam_ui.services.recipes import make_recipes

    if bool(expert) == bool(from_):
        raise SamError("Say which experts to merge.", "Give --expert NAME=WEIGHT, or --from FILE.")
    chosen = weights_from(from_, criterion) if from_ else weights(expert or [])
    parameters = parse_parameters(get_method(method), param or [])
    check_inputs(
        method, get_method(method).needs,
        match=from_ is not None, texts=texts is not None, types=types is not None, gold=gold,
    )  # fmt: skip
    _check_free(out)
    asked = _asked(types) if types is not None else []
    corpus = _sentences(texts, column, gold) if texts else None
    given = inputs(from_, corpus, asked) if get_method(method).needs != "none" else None
    engine = _engine()
    hashes = {name: engine.pool.get(name).card.hash for name in chosen}
    base = engine.pool.get(next(iter(chosen))).card.base_model
    recipe = make_recipes(
        chosen, method=method, parameters=parameters, rank=rank, base_model=base, hashes=hashes
    )[0].model_copy(update={"criterion": criterion})
    if full:
        check_full(engine, out)
    with progress_line() as tell:
        merged = engine.merge([recipe], [out], inputs=given, progress=tell)[0]
    document = {
        "adapter": str(out),
        "recipe": json.loads(recipe.to_json()),
        "retained_energy": merged.retained_energy,
        "seconds": merged.seconds,
        "weights": merged.weights,
        "coefficients": merged.coefficients if merged.weights is None else None,
        "note": merged.note,
        **({"full_model": write_full(engine, out)} if full else {}),
    }
    if as_json:
        print_json(document)
    else:
        kept = f"{100 * merged.retained_energy:.1f} % of the experts' changes"
        print(f"Merged {len(chosen)} experts into {out}: {kept} kept.")
        if merged.weights is not None and method != "linear":
            print("Weights: " + ", ".join(f"{n} {w:.3f}" for n, w in merged.weights.items()) + ".")
        if merged.note:
            print(merged.note)


@app.command()
def predict(
    corpus: CorpusPath,
    types: Types,
    out: Annotated[Path, typer.Option(help="File for the predictions (jsonl).")],
    expert: Annotated[str | None, typer.Option(help="Predict with one expert.")] = None,
    adapter: Annotated[Path | None, typer.Option(help="Predict with an adapter folder.")] = None,
    auto: Annotated[
        bool, typer.Option("--auto", help="Match, merge as recommended, predict.")
    ] = False,
    gold: Gold = False,
    column: Column = None,
    samples: Samples = 10,
    k: TopK = 3,
    seed: Seed = 0,
    threshold: Annotated[
        float, typer.Option(min=0, max=1, help="Leave out entities that are less probable.")
    ] = 0.0,
    none_bias: Annotated[
        float,
        typer.Option(min=-20, max=20, help="Added to the logit of “no entity”: above 0, fewer."),
    ] = 0.0,
    as_json: Json = False,
) -> None:
    """Find the entities of a corpus; without an adapter, with the bare base model."""
    from sam_ui.cli_predict import Request, run

    asked = _asked(types)
    if sum((expert is not None, adapter is not None, auto)) > 1:
        raise SamError("--expert, --adapter and --auto exclude each other.", "Give one of them.")
    _check_writable(out, corpus)
    request = Request(corpus, column, asked, gold, samples, k, seed, threshold, none_bias)
    document = run(_engine(), request, expert=expert, adapter=adapter, auto=auto, out=out)
    if as_json:
        print_json(document)
        return
    found = f"{document['entities']} entities in {document['texts']} texts"
    print(f"Found {found}; written to {out}.")
    if document["f1"] is not None:
        print(f"Against the corpus' own entities: F1 {document['f1']:.3f}.")


@app.command()
def evaluate(
    gold: Annotated[Path, typer.Argument(help="True entities (jsonl).")],
    pred: Annotated[Path, typer.Argument(help="Predictions (jsonl), the same texts in order.")],
    as_json: Json = False,
) -> None:
    """Score predictions: strict span F1, micro and macro, per type."""
    from experts.evaluate import evaluate_files

    report = evaluate_files(gold, pred)
    if as_json:
        print_json(report.to_dict())
        return
    rows = [[name, s.precision, s.recall, s.f1, s.support] for name, s in report.per_type.items()]
    micro = report.micro
    rows.append(["all (micro)", micro.precision, micro.recall, micro.f1, micro.support])
    rows.append(
        ["mean (macro)", report.macro_precision, report.macro_recall, report.macro_f1, None]
    )
    print_table(["type", "precision", "recall", "F1", "support"], rows)


app.command()(compare)
app.command()(convert)
app.command()(learn)
app.command()(unmerge)

# ---- what the commands share ----


def _engine() -> Engine:
    from sam_ui.services.engine import Engine
    from sam_ui.services.store import open_pool
    from sam_ui.settings import Settings

    settings = Settings()
    return Engine(settings, pool=open_pool(settings))


def _asked(types: str) -> list[str]:
    from experts.corpus import parse_types

    return [entity_type.name for entity_type in parse_types(types, lines=False)]


def _sentences(path: Path, column: str | None, gold: bool) -> Corpus:
    from experts.corpus import check_labelled, read_corpus

    corpus = read_corpus([path], column=column, gold=gold)
    if gold:
        check_labelled(path, corpus.gold)
    return corpus


def _match(
    engine: Engine, texts: Corpus, types: list[str], samples: int, k: int, seed: int, gold: bool
) -> MatchResult:
    truth: list[list[Span] | None] | None = None
    if gold:
        asked = set(types)
        truth = [
            None if spans is None else [s for s in spans if s.label in asked]
            for spans in texts.gold
        ]
    with progress_line() as tell:
        return engine.match(
            [s.text for s in texts.sentences],
            types,
            samples=samples,
            k=k,
            seed=seed,
            gold=truth,
            progress=tell,
        )


def _check_free(out: Path) -> None:
    """Refuse a folder for a merged adapter that is taken or cannot be made."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise SamError(
            f"{out} exists already and is not empty.", "Choose another folder for --out."
        )
    nearest = next(folder for folder in out.absolute().parents if folder.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        raise SamError(f"{out} cannot be made in {nearest}.", "Choose another folder for --out.")


def _check_writable(out: Path, corpus: Path) -> None:
    """Refuse a file for predictions that cannot be written, before hours of work, or that would
    take the place of the texts.
    """
    folder = out.absolute().parent
    if out.is_dir() or not folder.is_dir():
        raise SamError(f"{out} cannot be written.", "Name a file in a folder that exists.")
    if out.exists() and corpus.exists() and out.samefile(corpus):
        raise SamError(f"{out} is the corpus itself.", "Name another file for --out.")
    regular = not out.exists() or out.is_file()
    if not os.access(folder if regular else out, os.W_OK):
        raise SamError(f"{out} cannot be written.", "Choose a folder that is yours.")


if __name__ == "__main__":
    main()
