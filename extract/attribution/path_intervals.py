"""Intervals of a path: what is integrated over one from 5 or 9 points, and by how much it may be off.

An interval has nine places, evenly spaced. A *coarse* one has gradients at every second place: Boole's rule
integrates them, and its difference from Simpson's rule on three of them is the spread. A *fine* one has all
nine: the Newton–Cotes rule of degree 9 integrates them, and its difference from Boole's rule is the spread.
Half of a fine interval is a coarse one: bisecting throws nothing away that was computed.

A path is not cut evenly in α but in x, where α = c · sinh(x · arsinh(1/c)): even in α up to c, and beyond it
even in log α. Where a norm follows the vector that is scaled, P changes with α/√(α² + c²), in the first
thousandths of the path, and its gradient goes like 1/α after that. In x both are smooth.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import torch
from torch import Tensor

BOOLE: Final = tuple(weight / 90 for weight in (7, 0, 32, 0, 12, 0, 32, 0, 7))
SIMPSON: Final = tuple(weight / 6 for weight in (1, 0, 0, 0, 4, 0, 0, 0, 1))
NINE_POINTS: Final = tuple(
    weight / 28350 for weight in (989, 5888, -928, 10496, -4540, 10496, -928, 5888, 989)
)
"""Weights of Boole's, Simpson's and the nine-point Newton–Cotes rule on an interval of length 1.

Abramowitz and Stegun 1964, Handbook of Mathematical Functions, 25.4."""

_EVEN: Final = 0.25
"""Scale c from which on a path is even in α: there the two hardly differ."""


def rule_and_spread(fine: Tensor) -> Tensor:
    """Return the weights that integrate over intervals, and those of the spread.

    Parameters
    ----------
    fine : bool Tensor, shape (interval,)
        Whether an interval has all nine places.

    Returns
    -------
    float64 Tensor, shape (2, interval, 9)
        Weights of the integral over an interval of length 1, and of its difference from the next lower rule.
    """
    nine, boole, simpson = (
        torch.tensor(weights, dtype=torch.float64, device=fine.device)
        for weights in (NINE_POINTS, BOOLE, SIMPSON)
    )
    value = torch.where(fine[:, None], nine, boole)
    return torch.stack([value, value - torch.where(fine[:, None], boole, simpson)])


def hidden_change(fine: Tensor, probability: Tensor, slope: Tensor) -> Tensor:
    """Return how much P may change between the places of intervals and back, unseen at any of them.

    Between neighbouring places, log P/(1 − P) is taken for the cubic that has its values and slopes at both
    (Hermite interpolation). Where P is small at the places, its log-odds still show that something lies
    between.

    Parameters
    ----------
    fine : bool Tensor, shape (interval,)
        Whether an interval has all nine places.
    probability : Tensor, shape (interval, 9)
        P at its places.
    slope : Tensor, shape (interval, 9)
        dP at its places, by the share of the interval's length.

    Returns
    -------
    Tensor, shape (interval,)
        Total variation of the interpolated P less that of P from place to place; 0 where P is not in (0, 1).
    """
    hidden = torch.zeros_like(probability[:, 0])
    t = torch.linspace(0, 1, 17, dtype=probability.dtype, device=probability.device)
    # values and slopes at both ends: the cubic Hermite basis
    basis = torch.stack([2 * t**3 - 3 * t**2 + 1, t**3 - 2 * t**2 + t, 3 * t**2 - 2 * t**3, t**3 - t**2])
    for own, stride in ((fine, 1), (~fine, 2)):
        p, change = probability[own, ::stride], slope[own, ::stride] * stride / 8
        odds, rate = p.log() - (-p).log1p(), change / (p * (1 - p))
        ends = torch.stack([odds[:, :-1], rate[:, :-1], odds[:, 1:], rate[:, 1:]], -1)
        between = (ends @ basis).sigmoid().diff(dim=-1).abs().sum(-1)
        unseen = (between - p.diff(dim=1).abs()).nan_to_num(0.0, 0.0, 0.0)
        hidden[own] = unseen.clamp_min(0).sum(1)
    return hidden


def scale_of_path(ratio: Tensor) -> Tensor:
    """Return the scale c of paths, from how much faster they change at their start than at their end.

    Parameters
    ----------
    ratio : Tensor
        Length of the gradient at α = 0 over that at α = 1.

    Returns
    -------
    float64 Tensor
        1/ratio, rounded to a power of two, so that rounding of gradients does not move the nodes; 1, which
        means even in α, from 1/4 on and where the ratio is not a number.
    """
    c = 2.0 ** torch.log2(1 / ratio.double()).round().clamp(min=-30)
    return torch.where(c < _EVEN, c, 1.0)


def alpha_and_slope(scale: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return α and dα/dx at places of paths.

    Parameters
    ----------
    scale : float64 Tensor
        c of each path.
    x : float64 Tensor
        Where on the path, in [0, 1].

    Returns
    -------
    alpha, slope : float64 Tensor
        α = c · sinh(x · arsinh(1/c)) and its slope; x and 1 for paths that are even in α.

    Examples
    --------
    >>> alpha, slope = alpha_and_slope(torch.tensor([1.0, 1e-3]), torch.tensor([0.5, 0.5]))
    >>> [round(float(value), 3) for value in (*alpha, *slope)]
    [0.5, 0.022, 1.0, 0.17]
    """
    span = torch.asinh(1 / scale)
    curved, slope = scale * torch.sinh(x * span), scale * span * torch.cosh(x * span)
    even = scale >= _EVEN
    return torch.where(even, x, curved), torch.where(even, torch.ones_like(slope), slope)


@dataclass(kw_only=True)
class Intervals:
    """Intervals of paths, and what is known of each.

    Attributes
    ----------
    target, layer : int64 Tensor, shape (interval,)
        Whose path an interval is part of.
    left, width : float64 Tensor, shape (interval,)
        Where it begins and how long it is, in x.
    fine : bool Tensor, shape (interval,)
        Whether it has all nine places.
    known : bool Tensor, shape (interval,)
        Whether ``integral``, ``spread`` and ``gap`` are there.
    gradient : Tensor, shape (interval, 9, n)
        Gradients at its places, as :attr:`RowGradients.row_gradient`, times dα/dx.
    probability : Tensor, shape (interval, 9)
        P at its places.
    slope : Tensor, shape (interval, 9)
        dP/dx at its places.
    integral, spread : Tensor, shape (interval, neuron)
        ∫ ∂P/∂w dα over the interval, and the absolute difference of both rules.
    gap : Tensor, shape (interval,)
        |ΣA − ΔP| over the interval, or what P may change unseen, if that is more.
    """

    target: Tensor
    layer: Tensor
    left: Tensor
    width: Tensor
    fine: Tensor
    known: Tensor
    gradient: Tensor
    probability: Tensor
    slope: Tensor
    integral: Tensor
    spread: Tensor
    gap: Tensor

    def take(self, which: Tensor) -> Intervals:
        """Return some of the intervals.

        Parameters
        ----------
        which : Tensor
            Their numbers, or whether each is among them.

        Returns
        -------
        Intervals
            Copies.
        """
        return Intervals(**{name: getattr(self, name)[which] for name in self.__dataclass_fields__})

    def join(self, other: Intervals) -> Intervals:
        """Return these intervals, then others.

        Parameters
        ----------
        other : Intervals
            The others.

        Returns
        -------
        Intervals
            Copies.
        """
        names = self.__dataclass_fields__
        return Intervals(**{n: torch.cat([getattr(self, n), getattr(other, n)]) for n in names})

    def halves(self) -> Intervals:
        """Return both halves of fine intervals, as coarse ones.

        Returns
        -------
        Intervals
            First the left halves, then the right ones; nothing is known of them yet.
        """
        places = torch.tensor([0, 0, 1, 1, 2, 2, 3, 3, 4], device=self.left.device)
        values = self.gradient, self.probability, self.slope
        left, right = (self._part(2, k, places + 4 * k, *values) for k in (0, 1))
        left.fine.logical_not_()
        right.fine.logical_not_()
        return left.join(right)

    def added_at(self, pieces: int) -> Tensor:
        """Return where gradients are missing that make coarse intervals, or their halves, fine.

        Parameters
        ----------
        pieces : {1, 2}
            Fine intervals that a coarse one becomes.

        Returns
        -------
        float64 Tensor, shape (interval, 4 or 12)
            Places in x.
        """
        share = torch.tensor(_added(pieces), dtype=torch.float64, device=self.left.device) / (8 * pieces)
        return self.left[:, None] + share * self.width[:, None]

    def refined(self, pieces: int, gradient: Tensor, probability: Tensor, slope: Tensor) -> Intervals:
        """Return coarse intervals as fine ones.

        Parameters
        ----------
        pieces : {1, 2}
            Fine intervals that a coarse one becomes.
        gradient : Tensor, shape (interval, 4 or 12, n)
            Gradients at :meth:`added_at`, times dα/dx.
        probability, slope : Tensor, shape (interval, 4 or 12)
            P and dP/dx there.

        Returns
        -------
        Intervals
            Fine ones; nothing is known of them yet.
        """
        shape, added = (len(self.left), 8 * pieces + 1), list(_added(pieces))
        every = []
        for name, new in (("gradient", gradient), ("probability", probability), ("slope", slope)):
            places = new.new_empty(*shape, *new.shape[2:])
            places[:, :: 2 * pieces], places[:, added] = getattr(self, name)[:, ::2], new
            every.append(places)
        nine = torch.arange(9, device=self.left.device)
        parts = [self._part(pieces, k, nine + 8 * k, *every) for k in range(pieces)]
        return parts[0] if pieces == 1 else parts[0].join(parts[1])

    def _part(
        self, pieces: int, k: int, places: Tensor, gradient: Tensor, probability: Tensor, slope: Tensor
    ) -> Intervals:
        """Return the ``k``-th of equal parts of the intervals, as fine ones."""
        return replace(
            self,
            left=self.left + k * self.width / pieces,
            width=self.width / pieces,
            fine=torch.ones_like(self.fine),
            known=torch.zeros_like(self.known),
            gradient=gradient[:, places],
            probability=probability[:, places],
            slope=slope[:, places],
        )


def _added(pieces: int) -> tuple[int, ...]:
    """Return the places, of 8 · pieces + 1, that a coarse interval does not have.

    Examples
    --------
    >>> _added(1), _added(2)
    ((1, 3, 5, 7), (1, 2, 3, 5, 6, 7, 9, 10, 11, 13, 14, 15))
    """
    return tuple(place for place in range(8 * pieces + 1) if place % (2 * pieces))
