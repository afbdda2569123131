"""A frozen MACE with scalar features as plain arrays: what :mod:`atomflow.potentials.mace_compiled` computes with.

Nothing is copied out of mace-torch's or e3nn's parameters. Each linear layer is asked what it makes of unit vectors,
the harmonics of random directions, the radial networks of Chebyshev points; so layouts and normalisations are the
modules' own. All of it is made in float64.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from atomflow.potentials import mace_products, mace_scalar
from atomflow.potentials.mace_tables import tables_of


@dataclass(frozen=True, eq=False)
class Layer:
    """One interaction and its product basis. L+1 degrees, C channels, M = (L+1)² messages, Z elements.

    Attributes:
        table: (K, D+1, (L+1)·C) coefficients of the radial strengths, in powers of −1…1, in each of K intervals.
        up: (C, C) features → what is sent to neighbours.
        message: (1 or Z, L+1, C, C) sums over neighbours → messages, for all elements or for each.
        one, two, three, pairs, begins, rest: the polynomials of the messages; see ``mace_kernels.polynomials``.
        product: (C, C) polynomials → features.
        skip: (Z, C, C) features of the layer before → what is added to the new ones; None where nothing is.
    """

    table: np.ndarray
    up: np.ndarray
    message: np.ndarray
    one: np.ndarray
    two: np.ndarray
    three: np.ndarray
    pairs: np.ndarray
    begins: np.ndarray
    rest: np.ndarray
    product: np.ndarray
    skip: np.ndarray | None


@dataclass(frozen=True, eq=False)
class Readout:
    """Energy of features x: ``x @ last``, or ``gain · silu(x @ first) @ last``."""

    first: np.ndarray | None
    gain: float
    last: np.ndarray


@dataclass(frozen=True, eq=False)
class Repulsion:
    """What ``mace_kernels.repel`` asks of two elements, (Z, Z) each, and of all.

    Attributes:
        reach_A: where it ends; strength_eV_A: product of the charges; size_A: length of the screening.
        decays, shares: (4,) exponents and weights of the screening.
        p: power of the envelope.
    """

    reach_A: np.ndarray
    strength_eV_A: np.ndarray
    size_A: np.ndarray
    decays: np.ndarray
    shares: np.ndarray
    p: int


@dataclass(frozen=True, eq=False)
class Arrays:
    """The whole model for one readout head.

    Attributes:
        cutoff_A: pairs from there on do not count.
        exponents: (T, 3) powers of x, y, z in the terms of the harmonics; of_degree: (M, 2) which terms each harmonic
            may have; coefficients: (M, T).
        embedding: (Z, C) features of the elements before the first layer.
        isolated_eV: (Z,) energy of an atom alone, the shift included.
        readouts: one a layer, None where a layer is not read.
    """

    cutoff_A: float
    exponents: np.ndarray
    of_degree: np.ndarray
    coefficients: np.ndarray
    embedding: np.ndarray
    isolated_eV: np.ndarray
    layers: tuple[Layer, ...]
    readouts: tuple[Readout | None, ...]
    repulsion: Repulsion | None


def arrays_of(model: Any, head: int) -> Arrays | None:
    """The arrays of a model for one of its heads, in its precision; None for a model of another make."""
    if not _fits(model):
        return None
    dtype = np.float32 if next(model.parameters()).dtype == torch.float32 else np.float64
    model = copy.deepcopy(model).double()
    with torch.no_grad():
        degrees = len(model.interactions[0].conv_tp.irreps_in2)
        harmonics = _harmonics(model.spherical_harmonics, degrees)
        tables = tables_of([_strengths(model, block) for block in model.interactions], float(model.r_max), dtype)
        scale = float(torch.atleast_1d(model.scale_shift.scale)[head])
        shift = float(torch.atleast_1d(model.scale_shift.shift)[head])
        read = [_readout(readout, head, scale, dtype) for readout in model.readouts]
        if harmonics is None or tables is None or None in read:
            return None
        layers = tuple(_layer(model, index, degrees, table.astype(dtype)) for index, table in enumerate(tables))
        elements = torch.eye(len(model.atomic_numbers), dtype=torch.float64)
        return Arrays(
            float(model.r_max),
            *harmonics,
            model.node_embedding(elements).numpy().astype(dtype),
            model.atomic_energies_fn(elements)[:, head].numpy() + shift,
            layers,
            (*[None] * (len(layers) - len(read)), *read),
            _repulsion(model, scale) if hasattr(model, "pair_repulsion") else None,
        )


def _fits(model: Any) -> bool:
    if not mace_scalar.fits(model) or hasattr(model, "embedding_readout"):
        return False
    if hasattr(model.radial_embedding, "distance_transform"):  # strengths that depend on the elements too
        return False
    if len(model.readouts) not in (1, len(model.interactions)):
        return False
    channels = {block.conv_tp.irreps_in1.dim for block in model.interactions}
    for product in model.products:
        if not mace_products.fits(product) or len(product.symmetric_contractions.contractions) != 1:
            return False
        if any(irrep.ir.l for irrep in product.linear.irreps_out):
            return False
        channels.add(product.linear.irreps_out.dim)
    kinds = {type(readout).__name__ for readout in model.readouts}
    return len(channels) == 1 and kinds <= {"LinearReadoutBlock", "NonLinearReadoutBlock"}


def _harmonics(function: Any, degrees: int) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Harmonics as polynomials of a direction: exponents (T, 3), terms of each (M, 2) and coefficients (M, T)."""
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(200, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    values = function(torch.from_numpy(directions)).numpy()
    exponents: list[tuple[int, ...]] = []
    of_degree: list[tuple[int, int]] = []
    for degree in range(degrees):
        own = [e for e in itertools.product(range(degree + 1), repeat=3) if sum(e) == degree]
        of_degree += [(len(exponents), len(exponents) + len(own))] * (2 * degree + 1)
        exponents += own
    powers = np.array(exponents, dtype=np.int64)
    coefficients = np.zeros((len(of_degree), len(powers)))
    for m, (start, stop) in enumerate(of_degree):
        terms = (directions[:, None, :] ** powers[start:stop]).prod(-1)
        coefficients[m, start:stop] = np.linalg.lstsq(terms, values[:, m], rcond=None)[0]
        if not np.allclose(terms @ coefficients[m, start:stop], values[:, m], rtol=0, atol=1e-9):
            return None
    return powers, np.array(of_degree, dtype=np.int64), coefficients


def _layer(model: Any, index: int, degrees: int, table: np.ndarray) -> Layer:
    block, product, dtype = model.interactions[index], model.products[index], table.dtype
    channels = block.conv_tp.irreps_in1.dim
    unit = torch.eye(channels, dtype=torch.float64)
    message = _message(block, degrees, channels, len(model.atomic_numbers))
    residual = type(block).__name__ == "RealAgnosticResidualInteractionBlock"
    skip = np.stack([block.skip_tp(unit, one).numpy() for one in _each(model, channels)]) if residual else None
    return Layer(
        table,
        block.linear_up(unit).numpy().astype(dtype),
        message.astype(dtype),
        *_polynomials(product, dtype),
        product.linear(unit).numpy().astype(dtype),
        skip.astype(dtype) if skip is not None and product.use_sc else None,
    )


def _each(model: Any, rows: int) -> list[torch.Tensor]:
    """For each element, one-hot species of so many of its atoms."""
    return [one.repeat(rows, 1) for one in torch.eye(len(model.atomic_numbers), dtype=torch.float64)]


def _message(block: Any, degrees: int, channels: int, n_elements: int) -> np.ndarray:
    """(1 or Z, L+1, C, C): linear layer, mean over neighbours and, in a block without a residual, the skip."""
    kinds = [None] if type(block).__name__ != "RealAgnosticInteractionBlock" else list(range(n_elements))
    made = np.empty((len(kinds), degrees, channels, channels))
    total = channels * degrees**2
    for degree in range(degrees):
        rows = channels * degree**2 + np.arange(channels) * (2 * degree + 1)  # the first component of each channel
        sums = torch.zeros((channels, total), dtype=torch.float64)
        sums[torch.arange(channels), torch.from_numpy(rows)] = 1
        out = block.linear(sums) / block.avg_num_neighbors
        for index, kind in enumerate(kinds):
            if kind is not None:
                one_hot = torch.zeros((channels, n_elements), dtype=torch.float64)
                one_hot[:, kind] = 1
                made[index, degree] = block.skip_tp(out, one_hot)[:, rows].numpy()
            else:
                made[index, degree] = out[:, rows].numpy()
    return made


def _strengths(model: Any, block: Any) -> Callable[[np.ndarray], np.ndarray]:
    """The function from n lengths to (n, (L+1)·C) radial strengths."""

    def function(lengths: np.ndarray) -> np.ndarray:
        one_hot = torch.eye(len(model.atomic_numbers), dtype=torch.float64)
        ends = torch.zeros((2, len(lengths)), dtype=torch.int64)
        here = torch.from_numpy(lengths)[:, None]
        radial, cutoff = model.radial_embedding(here, one_hot, ends, model.atomic_numbers)
        strengths = block.conv_tp_weights(radial)
        return np.asarray((strengths if cutoff is None else strengths * cutoff).numpy())

    return function


def _polynomials(
    product: Any, dtype: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """one (Z, M, C), two (Z, Q, C), three (Z, T, C), pairs (Q, 2), begins (Q+1,), rest (T,)."""
    part = mace_products._Polynomials(product.symmetric_contractions.contractions[0])
    tables = {name: table.double().numpy() for name, table in part.tables.items()}
    own = [weights.double() for weights in part._weights()]
    weights = [np.einsum("pk,zkc->zpc", p.numpy(), w.numpy()) for p, w in zip(part.paths, own, strict=True)]
    one = np.einsum("zpc,pm->zmc", weights[0], tables["of_one"])
    n_elements, _, channels = one.shape
    pairs = np.stack([tables[side].argmax(1) for side in ("left", "right")], axis=1).astype(np.int64)
    two, three = np.zeros((n_elements, len(pairs), channels)), np.zeros((n_elements, 0, channels))
    half = rest = np.zeros(0, dtype=np.int64)
    if "of_two" in tables:
        two = np.einsum("zpc,pq->zqc", weights[1], tables["of_two"])
    if "of_three" in tables:
        half, rest = (tables[name].argmax(1).astype(np.int64) for name in ("half", "rest"))
        order = np.argsort(half, kind="stable")
        half, rest = half[order], rest[order]
        three = np.einsum("zpc,pt->ztc", weights[2], tables["of_three"])[:, order]
    begins = np.searchsorted(half, np.arange(len(pairs) + 1)).astype(np.int64)
    return one.astype(dtype), two.astype(dtype), np.ascontiguousarray(three, dtype), pairs, begins, rest


def _readout(readout: Any, head: int, scale: float, dtype: Any) -> Readout | None:
    if type(readout).__name__ == "LinearReadoutBlock":
        unit = torch.eye(readout.linear.irreps_in.dim, dtype=torch.float64)
        return Readout(None, 1.0, (scale * readout.linear(unit)[:, head]).numpy().astype(dtype))
    unit, hidden = (torch.eye(part.irreps_in.dim, dtype=torch.float64) for part in (readout.linear_1, readout.linear_2))
    tried = torch.linspace(-4, 4, len(hidden), dtype=torch.float64)
    active, silu = readout.non_linearity(tried[None])[0], torch.nn.functional.silu(tried)
    gain = float(active[-1] / silu[-1])
    if not torch.allclose(active, gain * silu, rtol=1e-6, atol=1e-9):
        return None
    n_heads = getattr(readout, "num_heads", 1)
    of_head = torch.arange(len(hidden)) // (len(hidden) // n_heads) == head if n_heads > 1 else torch.ones(len(hidden))
    last = scale * gain * readout.linear_2(hidden)[:, head] * of_head
    return Readout(readout.linear_1(unit).numpy().astype(dtype), 1.0, last.numpy().astype(dtype))


def _repulsion(model: Any, scale: float) -> Repulsion:
    """The terms of mace-torch's ``ZBLBasis`` as it writes them: whole charges times 14.3996 are float32 there."""
    function, charges = model.pair_repulsion_fn, model.atomic_numbers.cpu()
    one, other = charges[:, None], charges[None, :]
    radii = function.covalent_radii[charges]
    return Repulsion(
        (radii[:, None] + radii[None, :]).numpy(),
        (14.3996 * one * other).double().numpy(),
        (function.a_prefactor * 0.529 / (one**function.a_exp + other**function.a_exp)).double().numpy(),
        np.array([3.2, 0.9423, 0.4028, 0.2016]),
        function.c.numpy() * scale,
        int(function.p),
    )
