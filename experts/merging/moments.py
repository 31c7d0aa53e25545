"""Second moments of a layer's inputs, summed over experts, and the equations that they make.

Letters: a layer reads n tokens as the rows of X (n, in); its Gram matrix is G = Xᵀ·X / n. RegMean
reduces G's off-diagonal entries: G̃ = α·G + (1 - α)·diag(G).
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["Moments", "solve_positive"]


class Moments:
    """S = Σᵢ (α·XᵢᵀXᵢ + (1 - α)·diag(XᵢᵀXᵢ)) for one layer, each Xᵢ scaled by the caller.

    As long as there are fewer rows than features the rows are kept, and S is solved by Woodbury's
    identity in O(rows²·in); after that the matrix, in float64. So at most in² numbers are held.

    Args:
        features: in.
        alpha: factor of the off-diagonal entries, in [0, 1].
    """

    def __init__(self, features: int, alpha: float) -> None:
        self.features, self.alpha = features, alpha
        self._rows: list[Tensor] = []
        self._count = 0
        self._gram: Tensor | None = None
        self._diagonal: Tensor | None = None

    def add(self, rows: Tensor, scale: float) -> None:
        """Add √scale · rows, rows of shape (n, in)."""
        rows = rows.float() * scale**0.5
        squares = rows.double().square().sum(0)
        self._diagonal = squares if self._diagonal is None else self._diagonal + squares
        if self._gram is None:
            self._rows.append(rows)
            self._count += len(rows)
            if self._count <= self.features:
                return
            rows = torch.cat(self._rows)
            self._gram, self._rows = rows.new_zeros((), dtype=torch.float64), []
        self._gram = self._gram + (rows.T @ rows).double()

    @property
    def energy(self) -> float:
        """The mean of S's diagonal; 0 where nothing was read."""
        return 0.0 if self._diagonal is None else float(self._diagonal.mean())

    def solve(self, right: Tensor, ridge: float) -> Tensor:
        """Right · (S + ridge·I)⁻¹.

        Args:
            right: (k, in), float64.
            ridge: above 0.
        """
        if self._diagonal is None:
            return right / ridge
        diagonal = (1 - self.alpha) * self._diagonal + ridge
        if self._gram is not None:
            return solve_positive(self.alpha * self._gram + torch.diag(diagonal), right)
        rows = torch.cat(self._rows).double() * self.alpha**0.5
        thin = rows / diagonal  # X·D⁻¹
        inner = torch.eye(len(rows), dtype=right.dtype, device=right.device) + thin @ rows.T
        solved: Tensor = right / diagonal - solve_positive(inner, right @ thin.T) @ thin
        return solved


def solve_positive(matrix: Tensor, right: Tensor) -> Tensor:
    """Right · matrix⁻¹ for a symmetric positive definite matrix (n, n) and right (k, n), float64.

    Rows and columns are scaled to a unit diagonal first: features of a language model differ in
    size by orders of magnitude.
    """
    scale = matrix.diagonal().rsqrt()
    factor = torch.linalg.cholesky(matrix * scale * scale[:, None])
    solved: Tensor = torch.cholesky_solve((right * scale).T, factor).T * scale
    return solved
