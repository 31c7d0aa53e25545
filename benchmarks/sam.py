"""Selecting and merging, measured: what SaM brings over one expert, all experts and a generalist.

    python -m benchmarks.sam TARGET... [--pool DIR] [--generalist ADAPTER] [--only ROWS]
    python -m benchmarks.sam --leave-one-out --data DIR [--generalist ADAPTER]

TARGET is a folder with dev.jsonl or test.jsonl. With ``--leave-one-out`` the targets are the
experts' own domains, each without the experts that were trained on it. The texts of the target are
the corpus that a person would upload: the probe samples from them and does not see their labels.

It may be stopped at any time: answers are kept (``--cache``), finished rows are not made again, and
the same command goes on. ``--only`` takes names of rows (``SaM*``) or of groups. Prints Markdown,
writes JSON (``--out``) and, with ``--docs docs/pool.md``, the tables of the page.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.sam_bench import Bench, write_json
from benchmarks.sam_report import tables, write_docs
from benchmarks.sam_rows import GROUPS, LEAVE_ONE_OUT, Row, all_rows, chosen_rows
from benchmarks.sam_targets import Target, leave_one_out, read_target
from experts.card import ExpertCard
from experts.errors import SamError
from experts.pool import Expert
from sam_ui.services.store import open_pool
from sam_ui.settings import Settings

__all__ = ["main", "run_targets"]

say = partial(print, flush=True)
RESULTS = Path("benchmarks/results/sam.json")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("targets", type=Path, nargs="*", metavar="TARGET")
    parser.add_argument("--pool", type=Path, help="folder of experts; SaM's own by default")
    parser.add_argument("--generalist", help="folder of an expert, or its name in the pool")
    parser.add_argument("--leave-one-out", action="store_true")
    parser.add_argument("--data", type=Path, help="folder of the experts' training corpora")
    parser.add_argument("--corpora", type=int, default=1, help="of an expert, as targets")
    parser.add_argument("--split", choices=("dev", "test"), default="test")
    parser.add_argument("--sentences", type=int, default=300)
    parser.add_argument("--max-types", type=int, default=0, help="the most frequent; 0: all")
    parser.add_argument("--bare-sentences", type=int, default=30)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--orders", type=int, default=1, help="in which the pool grows")
    parser.add_argument("--only", nargs="+", metavar="ROWS", help=f"names or {', '.join(GROUPS)}")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--cache", type=Path, help="default: benchmarks/sam in SAM_DATA_DIR")
    parser.add_argument("--docs", type=Path, help="page whose tables are rewritten")
    options = parser.parse_args(arguments)
    if options.leave_one_out != (options.data is not None):
        parser.error("--leave-one-out and --data belong together")
    if not options.targets and not options.leave_one_out and not options.docs:
        parser.error("name a target")
    return options


def open_experts(settings: Settings, generalist: str | None) -> tuple[list[Expert], Expert | None]:
    """The pool without the generalist, and the generalist.

    Raises:
        SamError: there are no experts, or no such generalist.
    """
    pool = open_pool(settings)
    experts = [expert for expert in pool.list() if expert.bundled]
    found: Expert | None = None
    if generalist is not None and Path(generalist).is_dir():
        folder = Path(generalist).resolve()
        card = ExpertCard.load(folder / "card.json")
        found = Expert(card.name, folder, card, bundled=False)
    elif generalist is not None:
        found = pool.get(generalist)
    if found is not None:
        experts = [expert for expert in experts if expert.name != found.name]
    if not experts:
        raise SamError("There are no experts in the pool.", "Name another with --pool.")
    return experts, found


def merge_methods() -> list[str]:
    """Those that need no texts."""
    from experts.merging.registry import methods

    return [method.key for method in methods() if method.needs in ("none", "scores")]


def rows_for(bench: Bench, target: Target, orders: int) -> list[Row]:
    """All rows that a target can have."""
    return all_rows(
        [expert.name for expert in bench.chooser.allowed(target)],
        generalist=bench.chooser.generalist is not None,
        methods=merge_methods(),
        orders=orders,
    )


def run_targets(
    bench: Bench,
    targets: Sequence[Target],
    results: dict[str, Any],
    out: Path,
    *,
    only: Sequence[str] | None = None,
    orders: int = 1,
) -> None:
    """Run rows on targets; results are written after each row.

    Args:
        only: groups and names of rows; by default all, but fewer where an expert's own domain is
            the target.

    Raises:
        SamError: a name of `only` that fits no row.
    """
    save = partial(write_json, out, results)
    plans = []
    for target in targets:
        rows = rows_for(bench, target, orders)
        wanted = only or (LEAVE_ONE_OUT if target.left_out else None)
        plans.append((target, rows, chosen_rows(rows, wanted)))
    work = [len(target.texts) * len(target.types) for target in targets]
    began = time.monotonic()
    for number, (target, rows, chosen) in enumerate(plans):
        name = f"{target.name} · {target.split}"
        record = results.setdefault("targets", {}).setdefault(name, {})
        say(f"target {number + 1} of {len(plans)}")
        bench.run(target, chosen, record, save, rank=only is None or "ranks" in only)
        made = record["rows"]
        record["rows"] = {row.name: made[row.name] for row in rows if row.name in made}
        save()
        done = sum(work[: number + 1])
        left = (time.monotonic() - began) / 60 * (sum(work) - done) / max(done, 1)
        if number + 1 < len(plans):
            say(f"{len(plans) - number - 1} targets remain, about {left:.0f} minutes")


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    settings = Settings()
    if options.pool is not None:
        settings = settings.model_copy(update={"pool_dir": str(options.pool)})
    results = json.loads(options.out.read_text("utf-8")) if options.out.is_file() else {}
    try:
        experts, generalist = open_experts(settings, options.generalist)
        bench = Bench(
            settings,
            experts,
            generalist,
            options.cache or settings.data_dir / "benchmarks" / "sam",
            seeds=options.seeds,
            bare_sentences=options.bare_sentences,
            say=say,
        )
        reading = {
            "split": options.split, "sentences": options.sentences, "max_types": options.max_types
        }  # fmt: skip
        targets = [read_target(folder, **reading) for folder in options.targets]
        if options.leave_one_out:
            targets += leave_one_out(experts, options.data, corpora=options.corpora, **reading)
        run_targets(bench, targets, results, options.out, only=options.only, orders=options.orders)
    except SamError as error:
        say(error.what, error.hint, file=sys.stderr)
        return 1
    for title, table in tables(results).items():
        say(f"\n{title}\n\n{table}")
    if options.docs:
        write_docs(options.docs, results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
