"""One class a subject; each method is one transaction and returns plain records."""

from __future__ import annotations

from db.repositories.annotations import AnnotationRepository
from db.repositories.answers import ProbeAnswerRepository
from db.repositories.copies import CopyRepository, SessionCopy
from db.repositories.corpus import CorpusRepository, TypeRepository
from db.repositories.corrections import CorrectionRepository
from db.repositories.events import EventRepository
from db.repositories.experts import ExpertRepository
from db.repositories.history import MergeHistoryRepository
from db.repositories.jobs import JobRepository
from db.repositories.links import LinkRepository, new_token
from db.repositories.overview import OverviewRepository
from db.repositories.predictions import PredictionRepository
from db.repositories.removal import RemovalRepository
from db.repositories.renaming import RenamingRepository
from db.repositories.results import MergeRepository, RunRepository
from db.repositories.reviews import ReviewRepository
from db.repositories.sessions import SessionRepository

__all__ = [
    "AnnotationRepository",
    "CopyRepository",
    "CorpusRepository",
    "CorrectionRepository",
    "EventRepository",
    "ExpertRepository",
    "JobRepository",
    "LinkRepository",
    "MergeHistoryRepository",
    "MergeRepository",
    "OverviewRepository",
    "PredictionRepository",
    "ProbeAnswerRepository",
    "RemovalRepository",
    "RenamingRepository",
    "ReviewRepository",
    "RunRepository",
    "SessionCopy",
    "SessionRepository",
    "TypeRepository",
    "new_token",
]
