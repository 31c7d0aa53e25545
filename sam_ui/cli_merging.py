"""``sam-ui compare``, ``sam-ui unmerge`` and the full model of ``sam-ui merge --full``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from experts.errors import SamError
from sam_ui.cli_experts import Json
from sam_ui.cli_output import print_json, print_table, progress_line

if TYPE_CHECKING:
    from experts.merging.adapters import Adapter
    from experts.merging.recipe import Recipe
    from experts.pool import Pool
    from sam_ui.services.engine import Engine
    from sam_ui.services.merge_data import MergeInputs

__all__ = ["check_full", "compare", "unmerge", "write_full"]

FULL = "full"
"""Folder of the full model, inside the adapter's."""


def compare(
    names: Annotated[list[str], typer.Argument(help="Experts of the pool, two or more.")],
    seed: Annotated[int, typer.Option(min=0, help="Seed of the sampled sign conflicts.")] = 0,
    modules: Annotated[
        bool, typer.Option("--modules", help="With --json: every layer, too.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Compare experts: how alike they are, where they collide, what a merge keeps."""
    from experts.merging.compatibility import compare as compare_adapters

    pool = _pool()
    experts = [pool.get(name) for name in names]
    with progress_line() as tell:
        result = compare_adapters(
            [_load(pool, expert.name) for expert in experts], seed=seed, progress=tell
        )
    if as_json:
        print_json(result.to_dict(modules=modules))
        return
    titles = {expert.name: expert.card.title or expert.name for expert in experts}
    rows: list[list[object]] = []
    for i, first in enumerate(result.experts):
        for j in range(i + 1, len(result.experts)):
            conflict = result.conflict[i][j]
            shown = None if conflict != conflict else conflict
            pair = f"{first} + {result.experts[j]}"
            rows.append([pair, result.cosine[i][j], result.overlap[i][j], shown])
    print_table(["pair", "cosine", "overlap", "opposite signs"], rows)
    print()
    for sentence in result.pair_sentences(titles).values():
        print(sentence)
    for rank in result.retained:
        print(result.rank_sentence(rank))


def unmerge(
    folder: Annotated[Path, typer.Argument(help="Folder that `sam-ui merge` wrote.")],
    expert: Annotated[str, typer.Option(help="The expert to take out.")],
    out: Annotated[Path, typer.Option(help="Folder for the adapter without it.")],
    renormalise: Annotated[
        bool, typer.Option("--renormalise", help="Scale the others so that the sum stays.")
    ] = False,
    rerun: Annotated[
        bool, typer.Option("--rerun", help="Merge the others anew; any method, needs them all.")
    ] = False,
    from_: Annotated[
        Path | None,
        typer.Option("--from", help="With --rerun: output of `sam-ui match --json`, for scores."),
    ] = None,
    texts: Annotated[
        Path | None, typer.Option(help="With --rerun: corpus for the methods that read texts.")
    ] = None,
    types: Annotated[
        str | None, typer.Option(help="With --rerun: entity types, separated by commas.")
    ] = None,
    gold: Annotated[
        bool, typer.Option("--gold", help="With --rerun: use the entities of the texts.")
    ] = False,
    column: Annotated[
        str | None, typer.Option(help="With --rerun: column of the texts, for csv and tsv.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Take an expert out of a merge again, without the others."""
    from sam_ui.cli import _check_free

    _check_free(out)
    recipe = _recipe(folder)
    given = any(option is not None for option in (from_, texts, types, column)) or gold
    if given and not rerun:
        raise SamError(
            "--from, --texts, --types, --gold and --column are for merging anew.",
            "Add --rerun, or leave them out.",
        )
    needed = _data(recipe, expert, from_, texts, types, gold, column) if rerun else None
    with progress_line() as tell:
        if rerun:
            done = _rerun(recipe, expert, out, renormalise, needed, tell)
        else:
            done = _subtract(folder, recipe, expert, out, renormalise, tell)
    document = {"adapter": str(out), "recipe": json.loads(done["recipe"].to_json()), **done["said"]}
    if as_json:
        print_json(document)
        return
    left = ", ".join(f"{e.name} {e.weight:g}" for e in done["recipe"].experts)
    print(f"Took {expert} out; {out} holds {left}.")
    error = done["said"].get("error", 0.0)
    if error > 0.02:
        print(
            f"The stored merge was rounded, which is felt now: up to {100 * error:.0f} % of the "
            "result. --rerun is exact."
        )


def _subtract(
    folder: Path, recipe: Recipe, expert: str, out: Path, renormalise: bool, tell: Any
) -> dict[str, Any]:
    import torch

    from experts.merging.adapters import load_adapter, save_adapter
    from experts.merging.unmerge import stored_precision, unmerge, without

    without(recipe, expert, renormalise=renormalise)  # refuses before anything is read
    merged = load_adapter(folder)
    result = unmerge(merged, recipe, _load(_pool(), expert), renormalise=renormalise, progress=tell)
    precise = stored_precision(merged) < torch.finfo(torch.bfloat16).eps
    dtype = torch.float32 if precise else torch.bfloat16
    save_adapter(result.adapter, out, dtype=dtype, base_model=merged.base_model)
    _save_recipe(result.recipe, out)
    return {"recipe": result.recipe, "said": {"rerun": False, "error": result.error}}


def _data(
    recipe: Recipe,
    expert: str,
    match: Path | None,
    texts: Path | None,
    types: str | None,
    gold: bool,
    column: str | None,
) -> MergeInputs | None:
    """What the recipe's method reads; refused as by `sam-ui merge` if it is not all there."""
    from experts.merging.registry import get_method
    from experts.merging.unmerge import without
    from sam_ui.cli import _asked, _sentences
    from sam_ui.cli_merge import check_inputs, inputs

    without(recipe, expert)  # refuses before anything is read
    needs = get_method(recipe.method).needs
    check_inputs(
        recipe.method, needs,
        match=match is not None, texts=texts is not None, types=types is not None, gold=gold,
    )  # fmt: skip
    if needs == "none":
        return None
    corpus = _sentences(texts, column, gold) if texts else None
    return inputs(match, corpus, _asked(types) if types is not None else [])


def _rerun(
    recipe: Recipe,
    expert: str,
    out: Path,
    renormalise: bool,
    given: MergeInputs | None,
    tell: Any,
) -> dict[str, Any]:
    from experts.merging.adapters import save_adapter
    from experts.merging.unmerge import rerun, without
    from sam_ui.cli import _engine
    from sam_ui.services.merge_data import merge_data, where_to_merge

    left = without(recipe, expert, renormalise=renormalise)
    engine = _engine()
    adapters = [_load(engine.pool, member.name) for member in left.experts]
    data = merge_data(engine, left, given)
    reduced, result = rerun(
        recipe,
        expert,
        adapters,
        renormalise=renormalise,
        progress=tell,
        device=where_to_merge(engine, adapters, data),
        data=data,
    )
    save_adapter(result.adapter, out)
    _save_recipe(reduced, out)
    said = {"rerun": True, "retained_energy": result.retained_energy}
    return {"recipe": reduced, "said": said}


def _save_recipe(recipe: Recipe, folder: Path) -> None:
    from experts.export.mergekit import write_mergekit

    recipe.save(folder / "recipe.json")
    write_mergekit(recipe, folder)


def _recipe(folder: Path) -> Recipe:
    from experts.merging.recipe import Recipe

    path = folder / "recipe.json"
    if not path.is_file():
        raise SamError(
            f"{folder} has no recipe.json, so nobody knows what was merged.",
            "Choose a folder that `sam-ui merge` wrote.",
        )
    return Recipe.load(path)


def _pool() -> Pool:
    from sam_ui.services.store import open_pool
    from sam_ui.settings import Settings

    return open_pool(Settings())


def _load(pool: Pool, name: str) -> Adapter:
    from experts.merging.adapters import load_adapter

    expert = pool.get(name)
    return load_adapter(expert.path, name=expert.name)


def check_full(engine: Engine, out: Path) -> None:
    """Refuse a full model before the merge if it cannot be written.

    Raises:
        SamError: not enough space on the disk, or a quantized base model.
    """
    from experts.export.full_model import check_space

    if engine.settings.dtype in ("int8", "nf4"):
        raise SamError(
            f"SAM_DTYPE is {engine.settings.dtype}, which has no full weights to save.",
            "Set SAM_DTYPE to auto, bfloat16 or float32.",
        )
    check_space(engine.base, out / FULL)


def write_full(engine: Engine, out: Path) -> str:
    """Save the full model of the adapter in `out` in its folder `FULL`; returns that folder."""
    from experts.export.full_model import save_full_model
    from experts.merging.adapters import load_adapter

    recipe = (out / "recipe.json").read_text("utf-8")
    save_full_model(engine.base, load_adapter(out), out / FULL, recipe_json=recipe)
    return str(out / FULL)
