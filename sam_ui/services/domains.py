"""Where each expert's domain lies in the space of the embedder in use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from experts.card import ExpertCard
    from experts.pool import Expert
    from experts.similarity import Embedder

    Vectors = npt.NDArray[np.float32]

__all__ = ["Domain", "Domains"]


@dataclass(frozen=True)
class Domain:
    """An expert's domain: `mean` of unit norm, shape (d,); `vectors` of its exemplars, (n, d)."""

    card: ExpertCard
    mean: Vectors
    vectors: Vectors

    def exemplar_vectors(self) -> Vectors:
        """Named as in `experts.pool.Expert`."""
        return self.vectors

    def nearest(self, mean: Vectors) -> list[str]:
        """The exemplar sentences nearest to a mean vector (d,)."""
        from experts.similarity import nearest_exemplars

        return list(nearest_exemplars(mean, cast("Expert", self)))

    def pairs(self, vectors: Vectors, most: int = 3) -> list[tuple[int, str, float]]:
        """The nearest pairs of a sentence and an exemplar, nearest first; none is in two pairs.

        Args:
            vectors: of the sentences, unit norm, (n, d).

        Returns:
            (index of the sentence, exemplar, cosine) of each pair.
        """
        import numpy as np

        if not len(vectors) or not len(self.vectors):
            return []
        cosines = vectors @ self.vectors.T
        found = []
        for _ in range(min(most, *cosines.shape)):
            i, j = np.unravel_index(int(np.argmax(cosines)), cosines.shape)
            found.append((int(i), self.card.exemplars[int(j)], float(cosines[i, j])))
            cosines[i], cosines[:, j] = -np.inf, -np.inf
        return found


class Domains:
    """Reads domains from the cards, or, where a card's vectors are those of another embedder (they
    do not compare), embeds its exemplar sentences anew, once.
    """

    def __init__(self) -> None:
        self._anew: dict[tuple[str, str, str], Domain] = {}

    def mean(self, expert: Expert, embedder: Embedder) -> Vectors:
        """The mean alone: of a large pool, most experts' exemplars are never read."""
        import numpy as np

        if _compares(expert.card, embedder):
            return np.asarray(expert.card.mean, dtype=np.float32)
        return self.of(expert, embedder).mean

    def of(self, expert: Expert, embedder: Embedder) -> Domain:
        """The domain of one expert in the space of `embedder`."""
        import numpy as np

        from experts.similarity import mean_vector

        card = expert.card
        if _compares(card, embedder):
            vectors = np.asarray(expert.exemplar_vectors(), dtype=np.float32)
            return Domain(card, self.mean(expert, embedder), vectors)
        key = (embedder.name, expert.name, card.hash)
        if key not in self._anew:
            vectors = embedder.embed(list(card.exemplars))
            self._anew[key] = Domain(card, mean_vector(vectors), vectors)
        return self._anew[key]


def _compares(card: ExpertCard, embedder: Embedder) -> bool:
    return card.embedder == embedder.name and bool(card.mean)
