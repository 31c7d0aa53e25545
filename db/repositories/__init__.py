"""One class a subject; each method is one transaction and returns plain records."""

from __future__ import annotations

from db.repositories.answers import ProbeAnswerRepository
from db.repositories.corpus import CorpusRepository, TypeRepository
from db.repositories.experts import ExpertRepository
from db.repositories.jobs import JobRepository
from db.repositories.predictions import PredictionRepository
from db.repositories.results import MergeRepository, RunRepository
from db.repositories.sessions import SessionRepository

__all__ = [
    "CorpusRepository",
    "ExpertRepository",
    "JobRepository",
    "MergeRepository",
    "PredictionRepository",
    "ProbeAnswerRepository",
    "RunRepository",
    "SessionRepository",
    "TypeRepository",
]
