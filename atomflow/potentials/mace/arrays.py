"""A frozen MACE as plain arrays: what :mod:`atomflow.potentials.mace.dynamics` computes with.

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

from atomflow.potentials.mace import products
from atomflow.potentials.mace.paths import Paths, paths_of
from atomflow.potentials.mace.products import has_polynomials
from atomflow.potentials.mace.shorter import fits
from atomflow.potentials.mace.tables import tables_of


@dataclass(frozen=True, eq=False)
class Layer:
    """One interaction and its product basis. C channels, M = (L+1)² messages, Z elements; features of some degrees.

    Attributes:
        table: (K, D+1, P·C) coefficients of the radial strengths, in powers of −1…1, in each of K intervals.
        paths: the P paths and the terms of the sums over neighbours.
        up: for each degree of the features (C, C), to what is sent to neighbours.
        message: for each of L+1 degrees (1 or Z, paths to it · C, C), sums over neighbours → messages, for all elements
            or for each.
        polynomials: of the messages.
        product: for each degree of the new features (C, C), polynomials → features.
        skip: for each degree (Z, C, C), features of the layer before → what is added to the new ones; None where
            nothing is.
    """

    table: np.ndarray
    paths: Paths
    up: tuple[np.ndarray, ...]
    message: tuple[np.ndarray, ...]
    polynomials: Polynomials
    product: tuple[np.ndarray, ...]
    skip: tuple[np.ndarray, ...] | None


@dataclass(frozen=True, eq=False)
class Polynomials:
    """Products of one, two and three messages: what ``kernels.polynomials`` asks for."""

    lone: np.ndarray
    one: np.ndarray
    pairs: np.ndarray
    two: np.ndarray
    begins: np.ndarray
    rest: np.ndarray
    three: np.ndarray


@dataclass(frozen=True, eq=False)
class Readout:
    """Energy of features x: ``x @ last``, or ``gain · silu(x @ first) @ last``."""

    first: np.ndarray | None
    gain: float
    last: np.ndarray


@dataclass(frozen=True, eq=False)
class Repulsion:
    """What ``kernels.repel`` asks of two elements, (Z, Z) each, and of all.

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
        if any(len(block.conv_tp.irreps_in2) != degrees for block in model.interactions):
            return None
        harmonics = _harmonics(model.spherical_harmonics, degrees)
        tables = tables_of([_strengths(model, block) for block in model.interactions], float(model.r_max), dtype)
        scale = float(torch.atleast_1d(model.scale_shift.scale)[head])
        shift = float(torch.atleast_1d(model.scale_shift.shift)[head])
        read = [_readout(readout, head, scale, dtype) for readout in model.readouts]
        if harmonics is None or tables is None or None in read:
            return None
        layers = tuple(_layer(model, index, table.astype(dtype)) for index, table in enumerate(tables))
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
    if not fits(model) or hasattr(model, "embedding_readout"):
        return False
    if hasattr(model.radial_embedding, "distance_transform"):  # strengths that depend on the elements too
        return False
    if len(model.readouts) not in (1, len(model.interactions)):
        return False
    channels = {part.mul for block in model.interactions for part in block.conv_tp.irreps_in1}
    for product in model.products:
        made = product.linear.irreps_out
        if not has_polynomials(product) or [part.ir.l for part in made] != list(range(len(made))):
            return False
        channels |= {part.mul for part in made}
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


def _layer(model: Any, index: int, table: np.ndarray) -> Layer:
    block, product, dtype = model.interactions[index], model.products[index], table.dtype
    n_elements = len(model.atomic_numbers)
    residual = type(block).__name__ == "RealAgnosticResidualInteractionBlock" and product.use_sc
    skip = None
    if residual:
        given, made = block.skip_tp.irreps_in1, block.skip_tp.irreps_out
        of_each = [_blocks(_of_element(block.skip_tp, z, n_elements), given, made) for z in range(n_elements)]
        skip = tuple(np.stack(each).astype(dtype) for each in zip(*of_each, strict=True))
    return Layer(
        table,
        paths_of(block.conv_tp),
        _typed(_blocks(block.linear_up, block.linear_up.irreps_in, block.linear_up.irreps_out), dtype),
        _typed(_message(block, n_elements), dtype),
        _polynomials(product, dtype),
        _typed(_blocks(product.linear, product.linear.irreps_in, product.linear.irreps_out), dtype),
        skip,
    )


def _typed(arrays: list[np.ndarray], dtype: Any) -> tuple[np.ndarray, ...]:
    return tuple(np.ascontiguousarray(array, dtype) for array in arrays)


def _of_element(layer: Any, kind: int, n_elements: int) -> Callable[[torch.Tensor], torch.Tensor]:
    """A product with the species, for atoms that are all of one element."""
    return lambda x: layer(x, torch.eye(n_elements).to(x)[kind].repeat(len(x), 1))  # type: ignore[no-any-return]


def _blocks(function: Callable[[torch.Tensor], torch.Tensor], given: Any, made: Any) -> list[np.ndarray]:
    """For each degree of what a linear, equivariant function is given and makes: (channels given, channels made)."""
    found = []
    for part, span in zip(made, made.slices(), strict=True):
        width = part.ir.dim
        parts = [own for each, own in zip(given, given.slices(), strict=True) if each.ir == part.ir]
        if not parts:
            break
        rows = np.concatenate([np.arange(own.start, own.stop, width) for own in parts])  # each channel's first one
        unit = torch.zeros((len(rows), given.dim), dtype=torch.float64)
        unit[torch.arange(len(rows)), torch.from_numpy(rows)] = 1
        found.append(function(unit)[:, span.start : span.stop : width].numpy())
    return found


def _message(block: Any, n_elements: int) -> list[np.ndarray]:
    """For each degree (1 or Z, paths · C, C): linear layer, mean over neighbours and, in a block without a residual,
    the skip."""
    kinds = [None] if type(block).__name__ != "RealAgnosticInteractionBlock" else list(range(n_elements))

    def through(kind: int | None) -> list[np.ndarray]:
        def function(sums: torch.Tensor) -> torch.Tensor:
            out = block.linear(sums) / block.avg_num_neighbors
            return out if kind is None else _of_element(block.skip_tp, kind, n_elements)(out)  # type: ignore[no-any-return]

        return _blocks(function, block.conv_tp.irreps_out, block.linear.irreps_out)

    return [np.stack(each) for each in zip(*[through(kind) for kind in kinds], strict=True)]


def _strengths(model: Any, block: Any) -> Callable[[np.ndarray], np.ndarray]:
    """The function from n lengths to (n, P·C) radial strengths."""

    def function(lengths: np.ndarray) -> np.ndarray:
        one_hot = torch.eye(len(model.atomic_numbers), dtype=torch.float64)
        ends = torch.zeros((2, len(lengths)), dtype=torch.int64)
        here = torch.from_numpy(lengths)[:, None]
        radial, cutoff = model.radial_embedding(here, one_hot, ends, model.atomic_numbers)
        strengths = block.conv_tp_weights(radial)
        return np.asarray((strengths if cutoff is None else strengths * cutoff).numpy())

    return function


def _polynomials(product: Any, dtype: Any) -> Polynomials:
    """Those of all contractions of a block; components are of its scalars, then of its vectors, and so on."""
    lone: list[tuple[int, int]] = []
    pairs: list[tuple[int, int, int]] = []
    begins: list[int] = []
    rest: list[int] = []
    one, two, three, component = [], [], [], 0
    for contraction in product.symmetric_contractions.contractions:
        part = products.Polynomials(contraction)
        tables = {name: table.double().numpy() for name, table in part.tables.items()}
        left, right = (tables[side].argmax(1) for side in ("left", "right"))
        half, last = (tables[side].argmax(1) if "of_three" in tables else np.zeros(0, int) for side in ("half", "rest"))
        weights = [
            np.einsum("pk,zkc->zpc", paths.double().numpy(), own.detach().double().numpy())
            for paths, own in zip(part.paths, part.weights(), strict=True)
        ]
        for k in range(part.components):
            singles, doubles, triples = (
                _weighted(tables.get(name), part.components, k, own)
                for name, own in itertools.zip_longest(("of_one", "of_two", "of_three"), weights)
            )
            for message, weight in singles.items():
                lone.append((message, component))
                one.append(weight)
            for pair in sorted({*doubles, *(half[triple] for triple in triples)}):
                pairs.append((left[pair], right[pair], component))
                two.append(doubles.get(pair, np.zeros_like(one[0])))
                begins.append(len(rest))
                for triple in [triple for triple in triples if half[triple] == pair]:
                    rest.append(last[triple])
                    three.append(triples[triple])
            component += 1
    begins.append(len(rest))

    def listed(each: list[Any], width: int) -> np.ndarray:
        return np.array(each, dtype=np.int64).reshape(-1, width)

    def by_element(each: list[np.ndarray]) -> np.ndarray:
        return np.ascontiguousarray(np.stack(each, 1) if each else np.zeros((len(one[0]), 0, one[0].shape[1])), dtype)

    return Polynomials(
        listed(lone, 2), by_element(one), listed(pairs, 3), by_element(two), np.array(begins, dtype=np.int64),
        np.array(rest, dtype=np.int64), by_element(three),
    )  # fmt: skip


def _weighted(
    table: np.ndarray | None, components: int, k: int, weights: np.ndarray | None
) -> dict[int, np.ndarray]:
    """The weights (Z, C) of each monomial that occurs in the component k."""
    if table is None or weights is None:
        return {}
    own = table.reshape(-1, components, table.shape[1])[:, k]
    return {int(q): np.einsum("zpc,p->zc", weights, own[:, q]) for q in np.flatnonzero(np.abs(own).max(0))}


def _readout(readout: Any, head: int, scale: float, dtype: Any) -> Readout | None:
    if type(readout).__name__ == "LinearReadoutBlock":
        given = readout.linear.irreps_in
        unit = torch.eye(given[0].mul, given.dim, dtype=torch.float64)  # the scalars
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
