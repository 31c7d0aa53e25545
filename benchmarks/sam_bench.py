"""Runs the rows of `benchmarks.sam` on one target: chooses, merges, reads, scores, writes."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.sam_answers import BARE, DiskAnswers, Reader
from benchmarks.sam_choose import Choice, Chooser, Job, KeptVectors, code_digest
from benchmarks.sam_probes import PROBES
from benchmarks.sam_ranks import STATISTICS, rank_experts
from benchmarks.sam_rows import Best, One, Row, Uniform
from benchmarks.sam_targets import Target
from experts.errors import SamError
from experts.evaluate import evaluate, f1_interval
from experts.merging.adapters import content_hash, load_adapter
from experts.pool import Expert
from experts.spans import Span
from sam_ui.services.engine import Engine, unite
from sam_ui.services.probing import settings_version
from sam_ui.settings import Settings

__all__ = ["Bench"]

VERSION = 1
"""To be raised when rows mean something else."""

GROUP = 4  # merges between two looks at which rows are finished

ROOT = Path(__file__).resolve().parent.parent


class Bench:
    """One pool at work on targets.

    Args:
        experts: without the generalist.
        cache: folder of the answers and of what merges gave.
        seeds: of the sampling.
        bare_sentences: that the bare base model reads: it finds too much and is slow.
    """

    def __init__(
        self,
        settings: Settings,
        experts: Sequence[Expert],
        generalist: Expert | None,
        cache: Path,
        *,
        seeds: int = 3,
        bare_sentences: int = 30,
        say: Callable[[str], None] = print,
    ) -> None:
        self.seeds, self.bare_sentences, self._cache, self._say = seeds, bare_sentences, cache, say
        answers = DiskAnswers(cache / "answers")
        self.chooser = Chooser(experts, generalist)
        self.engine = Engine(settings, pool=self.chooser.pool, answers=answers)
        vectors = KeptVectors(lambda: Engine(settings, pool=self.chooser.pool).embedder)
        self.engine.__dict__["embedder"] = vectors
        self.version = settings_version(settings)
        self.reader = Reader(lambda: self.engine.extractor, answers, self.version, say)
        self.chooser.engine, self.chooser.reader = self.engine, self.reader
        self._digest = code_digest(ROOT)
        self._merged_path = cache / "merges.json"
        known = self._merged_path
        self._merged: dict[str, dict[str, Any]] = (
            json.loads(known.read_text("utf-8")) if known.is_file() else {}
        )

    # ---- one target ----

    def pending(self, target: Target, rows: Iterable[Row], record: Mapping[str, Any]) -> list[Row]:
        """The rows that are not finished."""
        done = record.get("rows", {})
        return [
            row
            for row in rows
            if done.get(row.name, {}).get("fingerprint") != self._fingerprint(row, target)
        ]

    def describe(self, target: Target) -> dict[str, Any]:
        """What a result says of its target; with another of these, all rows are made anew."""
        generalist = self.chooser.generalist
        return {
            "split": target.split,
            "sentences": len(target.texts),
            "spans": sum(map(len, target.gold)),
            "types": len(target.types),
            "all_types": target.all_types,
            "hash": target.hash,
            "experts": {e.name: e.card.hash for e in self.chooser.allowed(target)},
            "generalist": generalist.card.hash if generalist else None,
            "left_out": sorted(target.without),
            "mixed": sorted(target.mixed),
            "version": self.version,
        }

    def run(
        self,
        target: Target,
        rows: Sequence[Row],
        record: dict[str, Any],
        save: Callable[[], None],
        *,
        rank: bool = False,
    ) -> None:
        """Fill the record of a target; `save` is called whenever a row is finished.

        Args:
            rank: also compare how experts are ranked.
        """
        described = self.describe(target)
        if any(record.get(key) != value for key, value in described.items()):
            record.clear()
            record.update(described, rows={})
        pending = self.pending(target, rows, record)
        rank = rank and len(self.chooser.allowed(target)) > 2
        ranking = rank and record.get("ranks", {}).get("fingerprint") != self._ranks_print(target)
        if not pending and not ranking:
            self._say(f"{target.name}: all {len(rows)} rows are finished")
            return
        self._say(
            f"{target.name} ({target.split}): {len(target.texts)} sentences, {len(target.types)} "
            f"types, {len(pending)} of {len(rows)} rows to do"
        )
        self._read_experts(target, pending, ranking)
        choices = self._choices(target, pending, record)
        self._finish(target, choices, record, save)
        jobs = self._jobs(target, choices)
        for first in range(0, len(jobs), GROUP):
            work = sum(self._work(job, target) for job in jobs[first:])
            self._say(
                f"{target.name}: {len(jobs) - first} merges to read, "
                f"about {self.reader.pace.minutes(work):.1f} minutes"
            )
            failed = self._merge_and_read(jobs[first : first + GROUP], target)
            for row in [row for row in choices if _uses(choices[row], failed)]:
                del choices[row]
                self._store(row, target, record, {"error": next(iter(failed.values()))}, save)
            self._finish(target, choices, record, save)
        if ranking:
            ranked = rank_experts(self.chooser, target, self.seeds, self._merged_answers(target))
            record["ranks"] = {**ranked, "fingerprint": self._ranks_print(target)}
            save()

    def _merged_answers(self, target: Target) -> list[list[Span]] | None:
        """What the merge of all experts finds; None if it has not read the target."""
        choice = self.chooser.choose(Uniform(), target, 0)
        known = all(self._is_read(adapter, target) for adapter in choice.adapters)
        return self.answers(target, choice) if known else None

    def _read_experts(self, target: Target, pending: Sequence[Row], ranking: bool) -> None:
        """Let the experts that rows need whole read everything, side by side."""
        wanted: dict[str, Expert] = {}
        if ranking or any(row.how in (Best("gold"), Best("gold", True)) for row in pending):
            wanted |= {e.name: e for e in self.chooser.allowed(target)}
        for row in pending:
            if isinstance(row.how, One) and row.how.expert is not None:
                expert = self.chooser.expert(row.how.expert)
                wanted[expert.name] = expert
            elif row.how == Best("gold", True) and self.chooser.generalist:
                wanted[self.chooser.generalist.name] = self.chooser.generalist
        texts, types = target.texts, target.types
        missing = sum(len(self.reader.missing(e.card.hash, texts, types)) for e in wanted.values())
        if missing:
            minutes = self.reader.pace.minutes(missing * len(types))
            self._say(f"{target.name}: {missing} answers of experts, about {minutes:.1f} minutes")
        self.reader.read({e.card.hash: e.path for e in wanted.values()}, texts, types)
        if any(row.how == One(None) for row in pending):
            bare = texts[: self.bare_sentences]
            if self.reader.missing(BARE, bare, types):
                self._say(f"{target.name}: the bare base model reads {len(bare)} sentences")
            self.reader.read({BARE: None}, bare, types)

    def _choices(
        self, target: Target, pending: Sequence[Row], record: dict[str, Any]
    ) -> dict[Row, list[Choice]]:
        choices: dict[Row, list[Choice]] = {}
        began = time.perf_counter()
        for row in pending:
            seeds = range(self.seeds if row.seeded else 1)
            try:
                choices[row] = [self.chooser.choose(row.how, target, seed) for seed in seeds]
            except SamError as error:
                self._store(row, target, record, {"error": str(error)}, lambda: None)
        self._say(f"{target.name}: chosen in {time.perf_counter() - began:.0f} s")
        return choices

    def _jobs(self, target: Target, choices: Mapping[Row, Sequence[Choice]]) -> list[Job]:
        """What is yet to be read, in the order of the rows; experts chosen by a row go first."""
        experts = {
            adapter.card.hash: adapter.path
            for some in choices.values()
            for choice in some
            for adapter in choice.adapters
            if isinstance(adapter, Expert)
        }
        self.reader.read(experts, target.texts, target.types)
        jobs = {
            adapter.key: adapter
            for some in choices.values()
            for choice in some
            for adapter in choice.adapters
            if isinstance(adapter, Job)
        }
        return [job for job in jobs.values() if not self._is_read(job, target)]

    # ---- adapters ----

    def _job_key(self, job: Job) -> str:
        return hashlib.sha256(f"{job.key} {self._digest}".encode()).hexdigest()

    def _hash(self, adapter: Expert | Job | None) -> str | None:
        """Key of an adapter's answers; None for a recipe that was not run yet."""
        if isinstance(adapter, Job):
            found = self._merged.get(self._job_key(adapter))
            return found["adapter"] if found else None
        return adapter.card.hash if adapter else BARE

    def _texts(self, adapter: Expert | Job | None, target: Target) -> tuple[str, ...]:
        return target.texts if adapter is not None else target.texts[: self.bare_sentences]

    def _is_read(self, adapter: Expert | Job | None, target: Target) -> bool:
        key = self._hash(adapter)
        texts = self._texts(adapter, target)
        return key is not None and not self.reader.missing(key, texts, target.types)

    def _work(self, job: Job, target: Target) -> int:
        return 0 if self._is_read(job, target) else len(target.texts) * len(target.types)

    def _merge_and_read(self, jobs: Sequence[Job], target: Target) -> dict[str, str]:
        """Returns key of the job → why it could not be merged."""
        failed: dict[str, str] = {}
        self._cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="merging-", dir=self._cache) as folder:
            paths: dict[str, Path | None] = {}
            for number, job in enumerate(jobs):
                path = Path(folder) / str(number)
                self.chooser.present([e.name for e in job.recipe.experts])
                try:
                    merged = self.engine.merge([job.recipe], [path], inputs=job.inputs)[0]
                except SamError as error:
                    failed[job.key] = str(error)
                    self._say(f"  {job.recipe.method}: {error}")
                    continue
                key = content_hash(load_adapter(path))
                paths.setdefault(key, path)
                self._merged[self._job_key(job)] = {
                    "adapter": key,
                    "seconds": round(merged.seconds, 3),
                    "retained": round(merged.retained_energy, 6),
                }
            write_json(self._merged_path, self._merged)
            self.reader.read(paths, target.texts, target.types)
        return failed

    # ---- scores ----

    def _finish(
        self,
        target: Target,
        choices: dict[Row, list[Choice]],
        record: dict[str, Any],
        save: Callable[[], None],
    ) -> None:
        """Score the rows all of whose answers are there, and take them off the list."""
        ready = [
            row
            for row, some in choices.items()
            if all(self._is_read(adapter, target) for choice in some for adapter in choice.adapters)
        ]
        for row in ready:
            self._store(row, target, record, self.score(target, choices.pop(row)), save)

    def answers(self, target: Target, choice: Choice) -> list[list[Span]]:
        """What a choice finds; its adapters must have read the target.

        Returns:
            For each text its spans; only the first texts for the bare base model.
        """
        answers = [
            self.reader.answers(self._hash(a) or "", self._texts(a, target), target.types)
            for a in choice.adapters
        ]
        if len(answers) == 1:
            return answers[0]
        return [unite(spans) for spans in zip(*answers, strict=True)]

    def score(self, target: Target, choices: Sequence[Choice]) -> dict[str, Any]:
        """Means over the seeds' choices."""
        scores, intervals, sentences = [], [], len(target.texts)
        for choice in choices:
            found = self.answers(target, choice)
            sentences = len(found)
            gold = target.gold[:sentences]
            scores.append(evaluate(gold, found).micro)
            intervals.append(f1_interval(gold, found))
        seconds = {
            "probe": fmean(
                sum(
                    self.reader.seconds(self.chooser.expert(name).card.hash, n, target.types)
                    for name, n in choice.probed.items()
                )
                for choice in choices
            ),
            "merge": fmean(sum(map(self._merge_seconds, c.adapters)) for c in choices),
            "read": fmean(
                sum(
                    self.reader.seconds(self._hash(a) or "", sentences, target.types)
                    for a in choice.adapters
                )
                for choice in choices
            ),
        }
        return {
            "f1": round(fmean(s.f1 for s in scores), 4),
            "low": round(fmean(low for low, _ in intervals), 4),
            "high": round(fmean(high for _, high in intervals), 4),
            "precision": round(fmean(s.precision for s in scores), 4),
            "recall": round(fmean(s.recall for s in scores), 4),
            "f1_by_seed": [round(s.f1, 4) for s in scores],
            "sentences": sentences,
            "seconds": {name: round(value, 1) for name, value in seconds.items()},
            "adapters": [choice.described() for choice in choices],
            "retained": [self._retained(choice) for choice in choices],
            "pool": sorted(choices[0].probed),
        }

    def _merge_seconds(self, adapter: Expert | Job | None) -> float:
        if not isinstance(adapter, Job):
            return 0.0
        return float(self._merged[self._job_key(adapter)]["seconds"])

    def _retained(self, choice: Choice) -> list[float]:
        jobs = [a for a in choice.adapters if isinstance(a, Job)]
        return [self._merged[self._job_key(job)]["retained"] for job in jobs]

    def _store(
        self,
        row: Row,
        target: Target,
        record: dict[str, Any],
        result: dict[str, Any],
        save: Callable[[], None],
    ) -> None:
        fingerprint = self._fingerprint(row, target)
        record["rows"][row.name] = {"group": row.group, **result, "fingerprint": fingerprint}
        if "error" in result:
            self._say(f"| {target.name} | {row.name} | {result['error']} |")
        else:
            self._say(
                f"| {target.name} | {row.name} | {result['f1']:.3f} "
                f"({result['low']:.3f}–{result['high']:.3f}) "
                f"| {sum(result['seconds'].values()):.0f} s |"
            )
        save()

    def _fingerprint(self, row: Row, target: Target) -> str:
        parts: list[Any] = [VERSION, type(row.how).__name__, asdict(row.how), self.describe(target)]
        parts.append(self.bare_sentences if row.how == One(None) else None)
        parts.append(self.seeds if row.seeded else 1)
        parts.append(None if isinstance(row.how, One) else self._digest)
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]

    def _ranks_print(self, target: Target) -> str:
        merged = self._merged_answers(target) is not None
        known = [*sorted(STATISTICS), *sorted(PROBES), merged]
        parts = [VERSION, self.describe(target), self.seeds, self._digest, known]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def _uses(choices: Sequence[Choice], failed: Mapping[str, str]) -> bool:
    adapters = [adapter for choice in choices for adapter in choice.adapters]
    return any(isinstance(adapter, Job) and adapter.key in failed for adapter in adapters)


def write_json(path: Path, content: Any) -> None:
    """Whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".part")
    temporary.write_text(json.dumps(content, indent=1) + "\n", "utf-8")
    os.replace(temporary, path)
