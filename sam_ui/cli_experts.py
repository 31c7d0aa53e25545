"""``sam-ui experts …``: the pool on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sam_ui.cli_output import print_json, print_table, progress_line

if TYPE_CHECKING:
    from experts.pool import Expert, Pool
    from experts.training import TrainingProgress

experts_app = typer.Typer(no_args_is_help=True, help="The pool: list, show, add, remove, train.")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def _pool() -> Pool:
    from sam_ui.services.store import open_pool
    from sam_ui.settings import Settings

    return open_pool(Settings())


def _summary(expert: Expert) -> dict[str, Any]:
    card = expert.card
    return {
        "name": expert.name,
        "title": card.title,
        "domain": card.domain,
        "types": [t.name for t in card.types],
        "rank": card.rank,
        "dev_f1": card.dev_f1,
        "licence": card.licence,
        "base_model": card.base_model,
        "bundled": expert.bundled,
    }


@experts_app.command("list")
def list_experts(as_json: Json = False) -> None:
    """List the experts of the pool."""
    rows = [_summary(expert) for expert in _pool().list()]
    if as_json:
        print_json(rows)
        return
    print_table(
        ["name", "title", "types", "rank", "dev F1", "origin"],
        [
            [r["name"], r["title"], len(r["types"]), r["rank"], r["dev_f1"],
             "bundled" if r["bundled"] else "added"]
            for r in rows
        ],
    )  # fmt: skip


@experts_app.command()
def show(
    name: Annotated[str, typer.Argument(help="Name of the expert.")], as_json: Json = False
) -> None:
    """Show one expert's card."""
    expert = _pool().get(name)
    if as_json:
        known = expert.card.model_dump(exclude={"mean", "exemplars"})
        print_json({**known, "path": str(expert.path), "bundled": expert.bundled})
        return
    card = expert.card
    print(f"{card.name}: {card.title}\n{card.description}\n")
    rows: list[list[object]] = [
        ["base model", card.base_model],
        ["trained on", f"{card.sentences} sentences, {card.training_seconds:.0f} s"],
        ["dev F1", f"{card.dev_f1:.3f}" if card.dev_f1 is not None else None],
        ["rank", str(card.rank)],
        ["licence", card.licence],
        ["hash", card.hash[:16]],
    ]
    print_table(["", ""], rows)
    print("\nTypes")
    print_table(["type", "dev F1"], [[t.name, card.dev_types.get(t.name)] for t in card.types])
    print("\nTraining data")
    print_table(["corpus", "licence", "source"], [[d.name, d.licence, d.source] for d in card.data])


@experts_app.command()
def add(
    path: Annotated[Path, typer.Argument(help="Folder or zip with adapter and card.")],
    as_json: Json = False,
) -> None:
    """Add an expert to the pool; everything is checked first."""
    expert = _pool().add(path)
    if as_json:
        print_json(_summary(expert))
    else:
        print(f"Added {expert.name} ({expert.card.title}).")


@experts_app.command()
def remove(
    name: Annotated[str, typer.Argument(help="Name of the expert.")], as_json: Json = False
) -> None:
    """Remove an added expert."""
    _pool().remove(name)
    if as_json:
        print_json({"removed": name})
    else:
        print(f"Removed {name}.")


@experts_app.command()
def train(
    recipe: Annotated[Path, typer.Argument(help="Recipe file (TOML).")],
    data: Annotated[Path, typer.Option(help="Folder of the corpora that the recipe names.")] = Path(
        "data"
    ),
    out: Annotated[
        Path | None, typer.Option(help="Folder for the expert; by default the pool of added ones.")
    ] = None,
    resume: Annotated[bool, typer.Option(help="Continue an interrupted training.")] = False,
    as_json: Json = False,
) -> None:
    """Train an expert from a recipe; with --resume an interrupted run goes on where it was."""
    from experts.base import load_base
    from experts.recipes import load_recipe
    from experts.similarity import load_embedder
    from experts.train_expert import train_expert
    from sam_ui.settings import Settings

    settings = Settings()
    plan = load_recipe(recipe)
    with progress_line() as tell:

        def report(now: TrainingProgress) -> None:
            left = f"{now.seconds_left / 60:.0f} min left"
            tell(now.step, now.steps, f"Training {plan.name}: loss {now.loss:.3f}, {left}")

        card = train_expert(
            plan,
            base=load_base(
                settings.base_model,
                data_dir=settings.data_dir,
                device=settings.device,
                dtype=settings.dtype,
            ),
            embedder=load_embedder(settings.embedder, settings.device),
            data=data,
            out=out or settings.user_experts_dir,
            starts=[settings.bundled_dir],
            resume=resume,
            progress=report,
        )
    if as_json:
        print_json(card.model_dump(exclude={"mean", "exemplars"}))
    else:
        print(f"Trained {card.name}: F1 {card.dev_f1:.3f} on {card.dev_sentences} dev sentences.")
