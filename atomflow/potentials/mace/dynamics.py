"""MACE models without autograd: one pass forth and one back, for molecular dynamics on a CPU.

Each layer sends features along pairs (compiled loops), mixes the sums that arrive (matrix products), forms polynomials
of them (compiled; they leave their slopes behind) and mixes these. The way back is the same steps turned round. The
radial strengths are read from tables whose error is below the rounding of the precision, and the forces are the slopes
of exactly what the tables say.

Atoms are kept sorted by element, so that the weights of an element meet one block of rows.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from atomflow.potentials.base import Edges, Evaluation
from atomflow.potentials.bonds import undirected
from atomflow.potentials.mace.arrays import Arrays, Layer, Readout, arrays_of
from atomflow.potentials.mace.kernels import kernels
from atomflow.potentials.mace.shorter import ShorterMace

#: so many pairs are worth a further thread
PAIRS_A_THREAD = 8192


class CompiledBatch:
    """A model's arrays bound to the atoms of one flat batch. Its work space is kept from call to call.

    Args:
        arrays: the model.
        elements: (N,) index of each atom's element in the model.
        system_index: (N,) system of each atom.
    """

    def __init__(self, arrays: Arrays, elements: np.ndarray, system_index: np.ndarray, n_systems: int) -> None:
        self.arrays, self.n_systems, self.dtype = arrays, n_systems, arrays.embedding.dtype
        order = np.argsort(elements, kind="stable")
        self.place = np.empty(len(order), np.int64)
        self.place[order] = np.arange(len(order))
        self.elements = np.ascontiguousarray(elements[order], dtype=np.int64)
        self.owner = np.ascontiguousarray(system_index, dtype=np.int64)
        self.sorted_owner = self.owner[order]
        ends = np.searchsorted(self.elements, np.arange(len(arrays.embedding) + 1)).tolist()
        self.spans = [(z, slice(*span)) for z, span in enumerate(pairwise(ends)) if span[0] < span[1]]
        self.degrees = len(arrays.layers[0].message)
        self.layers = [_Places(layer, len(order)) for layer in arrays.layers]
        self._work: dict[str, np.ndarray] = {}
        self._seen: tuple[Edges, tuple[np.ndarray, ...]] | None = None
        self._embedded = arrays.embedding[self.elements]
        # what the first layer sends depends on no position
        self._sent = self._mixed(self._embedded, arrays.layers[0].up)
        self._kept = self._skipped(arrays.layers[0], self._embedded, False)

    def __call__(self, positions_A: torch.Tensor, lattices_A: torch.Tensor, edges: Edges, stress: bool) -> Evaluation:
        model, call = self.arrays, _compiled()
        lattices = np.ascontiguousarray(lattices_A.detach().numpy())
        pairs = self._pairs(np.ascontiguousarray(positions_A.detach().numpy()), lattices, edges)
        energies = model.isolated_eV[self.elements]
        self._evaluate(pairs, energies)
        forces, virials = np.zeros((len(self.place), 3)), np.zeros((self.n_systems, 3, 3))
        call.pull(
            pairs.n, pairs.i, pairs.j, pairs.length, pairs.unit, model.exponents, model.of_degree, model.coefficients,
            pairs.of_length, pairs.of_Y, self.sorted_owner, forces, virials,
        )  # fmt: skip
        energy = torch.from_numpy(np.bincount(self.sorted_owner, weights=energies, minlength=self.n_systems))
        tensor = None
        if stress:
            volumes = np.abs(np.linalg.det(lattices))[:, None, None]
            tensor = torch.from_numpy(0.5 * (virials + virials.transpose(0, 2, 1)) / volumes)
        return Evaluation(energy, torch.from_numpy(forces[self.place]), tensor)

    def _pairs(self, positions: np.ndarray, lattices: np.ndarray, edges: Edges) -> SimpleNamespace:
        """The pairs within the cutoff, with what the layers read of them and room for what they write."""
        if self._seen is None or self._seen[0] is not edges:
            bonds = undirected(edges)
            listed = (np.ascontiguousarray(part.numpy()) for part in (bonds.first, bonds.second, bonds.images))
            self._seen = (edges, tuple(listed))
        model, (first, second, images) = self.arrays, self._seen[1]
        n_listed, n_powers, n_harmonics = len(first), model.layers[0].table.shape[1], self.degrees**2
        own = SimpleNamespace(
            i=self._room("i", (n_listed,), np.int64), j=self._room("j", (n_listed,), np.int64),
            length=self._room("length", (n_listed,), float), unit=self._room("unit", (n_listed, 3), float),
            interval=self._room("interval", (n_listed,), np.int64),
            powers=self._room("powers", (n_listed, n_powers)), by_length=self._room("by_length", (n_listed, n_powers)),
            Y=self._room("Y", (n_listed, n_harmonics)),
        )  # fmt: skip
        own.n = _compiled().bonds(
            positions, lattices, self.owner, first, second, images, self.place, model.cutoff_A,
            model.layers[0].table.shape[0], model.exponents, model.of_degree, model.coefficients,
            own.i, own.j, own.length, own.unit, own.interval, own.powers, own.by_length, own.Y,
        )  # fmt: skip
        own.of_length, own.of_Y = np.zeros(own.n), np.zeros((own.n, n_harmonics), self.dtype)
        return own

    def _evaluate(self, pairs: SimpleNamespace, energies: np.ndarray) -> None:
        """Add to the energies of the atoms (N,) and to the slopes kept with the pairs."""
        model, sent, kept, features = self.arrays, self._sent, self._kept, self._embedded
        if model.repulsion is not None:
            by = model.repulsion
            _compiled().repel(
                pairs.n, pairs.i, pairs.j, pairs.length, self.elements, by.reach_A, by.strength_eV_A, by.size_A,
                by.decays, by.shares, by.p, energies, pairs.of_length,
            )  # fmt: skip
        passed = []
        for number, (layer, readout) in enumerate(zip(model.layers, model.readouts, strict=True)):
            if number:
                sent, kept = self._mixed(features, layer.up), self._skipped(layer, features, False)
            slopes, values = self._products(number, layer, pairs, sent)
            features = self._mixed(values, layer.product)
            if kept is not None:
                features[: len(kept)] += kept
            pull = np.zeros_like(features)
            if readout is not None:
                _read(readout, features[: len(energies)], energies, pull[: len(energies)])
            passed.append((layer, sent, slopes, pull))
        pulled = None
        for number, (layer, sent, slopes, pull) in reversed(list(enumerate(passed))):
            pull = pull if pulled is None else pull + pulled
            of_values = self._mixed(pull, layer.product, True)
            of_sent = self._send_back(number, layer, pairs, sent, slopes, of_values, number > 0)
            if number:
                pulled = self._mixed(of_sent, layer.up, True)
                skipped = self._skipped(layer, pull, True)
                if skipped is not None:
                    pulled[: len(skipped)] += skipped

    def _products(
        self, number: int, layer: Layer, pairs: SimpleNamespace, sent: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """The slopes of the polynomials by the messages (components, N·M, C), and the polynomials (N·components, C)."""
        n_atoms, n_channels, places = len(self.place), sent.shape[1], self.layers[number]
        chunks = _chunks(pairs.n)
        sums = self._room("sums", (len(chunks), n_atoms * layer.paths.n_rows, n_channels))
        sums[:] = 0
        terms = self._terms(pairs, layer)
        _each(
            lambda k, start, stop: _compiled().collect(
                start, stop, pairs.i, pairs.j, layer.table, pairs.interval, pairs.powers, terms, sent, *places.terms,
                sums[k],
            ),
            chunks,
        )  # fmt: skip
        for other in sums[1:]:
            sums[0] += other
        slopes = self._room(f"messages {number}", (len(places.writes), n_atoms * self.degrees**2, n_channels))
        messages = slopes[0]
        self._mix(layer, sums[0], messages, False)
        values = np.empty((n_atoms * len(places.writes), n_channels), self.dtype)
        by = layer.polynomials
        _each(
            lambda _, start, stop: _compiled().polynomials(
                start, stop, self.elements, by.lone, by.one, by.pairs, by.two, by.begins, by.rest, by.three,
                places.reads, places.writes, messages, values, slopes,
            ),
            _split(n_atoms, len(chunks)),
        )  # fmt: skip
        return slopes, values

    def _terms(self, pairs: SimpleNamespace, layer: Layer) -> np.ndarray:
        """(U, Q) terms of a layer's messages."""
        if layer.paths.scalars:
            return pairs.Y  # type: ignore[no-any-return]
        return _times(pairs.Y[: pairs.n], layer.paths.form.astype(self.dtype))

    def _send_back(
        self, number: int, layer: Layer, pairs: SimpleNamespace, sent: np.ndarray, slopes: np.ndarray,
        pull: np.ndarray, further: bool,
    ) -> np.ndarray:
        """From the slopes by the polynomials to those by pairs, which are kept, and by what was sent, like it."""
        places = self.layers[number]
        _compiled().chain(len(self.place), places.reads, places.writes, pull, slopes, slopes[0])
        of_sums = self._room("of sums", (len(self.place) * layer.paths.n_rows, sent.shape[1]))
        self._mix(layer, of_sums, slopes[0], True)
        chunks = _chunks(pairs.n)
        of_sent = np.zeros((len(chunks), *sent.shape), self.dtype)
        terms = self._terms(pairs, layer)
        of_terms = self._room("of terms", (pairs.n, terms.shape[1]))
        _each(
            lambda k, start, stop: _compiled().slopes(
                start, stop, pairs.i, pairs.j, layer.table, pairs.interval, pairs.powers, pairs.by_length, terms, sent,
                *places.terms, of_sums, further, pairs.of_length, of_terms, of_sent[k],
            ),
            chunks,
        )  # fmt: skip
        pairs.of_Y += of_terms if layer.paths.scalars else _times(of_terms, layer.paths.form.T.astype(self.dtype))
        return of_sent.sum(0) if len(chunks) > 1 else of_sent[0]

    def _rows(self, degree: int, span: slice | None = None) -> slice:
        """Rows of one degree, of all atoms or of a span of them; see ``kernels``."""
        n_atoms, width = len(self.place), 2 * degree + 1
        span = slice(0, n_atoms) if span is None else span
        return slice(n_atoms * degree**2 + span.start * width, n_atoms * degree**2 + span.stop * width)

    def _mix(self, layer: Layer, sums: np.ndarray, messages: np.ndarray, turned: bool) -> None:
        """From sums over neighbours to messages; turned round, from the slopes by these to those by the sums."""
        begun = 0
        for degree, by_element in enumerate(layer.message):
            spans = self.spans if len(by_element) > 1 else [(0, slice(0, len(self.place)))]
            width, times = 2 * degree + 1, by_element.shape[1] // by_element.shape[2]
            block = sums[begun : begun + len(self.place) * width * times].reshape(-1, by_element.shape[1])
            for z, span in spans:
                wide, rows = slice(span.start * width, span.stop * width), self._rows(degree, span)
                if turned:
                    _times(messages[rows], by_element[z].T, block[wide])
                else:
                    _times(block[wide], by_element[z], messages[rows])
            begun += len(self.place) * width * times

    def _mixed(self, features: np.ndarray, by_degree: tuple[np.ndarray, ...], turned: bool = False) -> np.ndarray:
        """Features of several degrees, or their slopes, through a matrix for each degree."""
        made = np.empty_like(features)
        for degree, weights in enumerate(by_degree):
            rows = self._rows(degree)
            _times(features[rows], weights.T if turned else weights, made[rows])
        return made

    def _skipped(self, layer: Layer, features: np.ndarray, turned: bool) -> np.ndarray | None:
        """What is added to the new features, of the degrees that they have; turned round, to the slopes by the old."""
        if layer.skip is None:
            return None
        made = np.empty((len(self.place) * len(layer.skip) ** 2, features.shape[1]), self.dtype)
        for degree, by_element in enumerate(layer.skip):
            for z, span in self.spans:
                rows = self._rows(degree, span)
                _times(features[rows], by_element[z].T if turned else by_element[z], made[rows])
        return made

    def _room(self, name: str, shape: tuple[int, ...], dtype: Any = None) -> np.ndarray:
        """An array of that shape whose memory is used again in the next call."""
        size, dtype = int(np.prod(shape)), dtype or self.dtype
        if name not in self._work or self._work[name].size < size:
            self._work[name] = np.empty(size + size // 8, dtype)
        return self._work[name][:size].reshape(shape)


class _Places:
    """Where a layer's features, sums, messages and polynomials stand; see ``kernels``."""

    def __init__(self, layer: Layer, n_atoms: int) -> None:
        paths = layer.paths
        of_row = np.zeros((paths.n_rows, 2), np.int64)
        begun = 0
        for degree, by_element in enumerate(layer.message):
            width, times = 2 * degree + 1, by_element.shape[1] // by_element.shape[2]
            own = [start for start, stop in paths.rows if stop - start == width]
            for number, start in enumerate(own):
                for m in range(width):
                    of_row[start + m] = begun + m * times + number, width * times
            begun += n_atoms * width * times
        parity = paths.parity.astype(layer.table.dtype)
        sent = _components(len(layer.up), n_atoms)
        self.terms = (paths.path, sent[paths.row], paths.begins, of_row[paths.target], parity)
        self.reads = _components(len(layer.message), n_atoms)
        self.writes = _components(len(layer.product), n_atoms)


def _components(degrees: int, n_atoms: int) -> np.ndarray:
    """(degrees², 2) the row of every component of the first atom, and how far it is to the next atom's."""
    places = [(n_atoms * degree**2 + m, 2 * degree + 1) for degree in range(degrees) for m in range(2 * degree + 1)]
    return np.array(places, dtype=np.int64)


def tried_arrays(model: Any, head: int, other: ShorterMace) -> Arrays | None:
    """The model as arrays, if numba is here, the model is of that make and a trial agrees with the other way."""
    arrays = arrays_of(model, head) if kernels() is not None else None
    if arrays is None:
        return None
    one_hot = torch.eye(len(model.atomic_numbers), dtype=next(model.parameters()).dtype)
    elements = np.resize(np.unique(np.linspace(0, len(one_hot) - 1, 8).astype(int)), 8)
    positions = torch.from_numpy(np.random.default_rng(1).random((8, 3)) * 0.7 * arrays.cutoff_A).requires_grad_(True)
    first, second = (each.contiguous() for each in torch.combinations(torch.arange(8)).T)
    edges = Edges(torch.cat((first, second)), torch.cat((second, first)), torch.zeros((56, 3), dtype=torch.float64))
    found = CompiledBatch(arrays, elements, np.zeros(8, int), 1)(positions, torch.eye(3).double()[None], edges, False)
    vectors = positions[second] - positions[first]
    near = torch.nonzero(vectors.detach().norm(dim=1) < arrays.cutoff_A).squeeze(1)
    heads = torch.full((8,), head, dtype=torch.int64)
    leaf = vectors[near].to(one_hot.dtype)
    energy = other.node_energies(one_hot[elements], heads, first[near], second[near], leaf).sum()
    (slope,) = torch.autograd.grad(energy, positions)
    agree = (found.forces_eV_per_A + slope).abs().max() <= 1e-4 * slope.abs().max()
    return arrays if bool(agree) and torch.isclose(found.energy_eV[0], energy, rtol=1e-5, atol=1e-5) else None


def _read(readout: Readout, features: np.ndarray, energies: np.ndarray, pull: np.ndarray) -> None:
    """Add what is read of the features to the energies, and set ``pull`` to its slope by them."""
    if readout.first is None:
        energies += features @ readout.last
        pull[:] = readout.last
        return
    given = _times(features, readout.first)
    share = 0.5 + 0.5 * np.tanh(0.5 * given)
    energies += (given * share) @ readout.last
    _times(share * (1 + given * (1 - share)) * readout.last, readout.first.T, pull)


def _times(a: np.ndarray, b: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """a @ b by torch, whose number of threads is the caller's choice."""
    out = np.empty((a.shape[0], b.shape[1]), a.dtype) if out is None else out
    torch.mm(torch.from_numpy(a), torch.from_numpy(b), out=torch.from_numpy(out))
    return out


def _compiled() -> SimpleNamespace:
    found = kernels()
    assert found is not None
    return found


def _chunks(n_pairs: int) -> list[tuple[int, int]]:
    return _split(n_pairs, max(1, min(torch.get_num_threads(), n_pairs // PAIRS_A_THREAD)))


def _split(count: int, parts: int) -> list[tuple[int, int]]:
    ends = [count * part // parts for part in range(parts + 1)]
    return list(pairwise(ends))


def _each(work: Callable[[int, int, int], None], chunks: list[tuple[int, int]]) -> None:
    """Do every chunk: ``work(number, start, stop)``; several at once, which the compiled functions allow."""
    if len(chunks) == 1:
        work(0, *chunks[0])
        return
    for done in [_pool(os.getpid()).submit(work, k, *chunk) for k, chunk in enumerate(chunks)]:
        done.result()


@cache
def _pool(process: int) -> ThreadPoolExecutor:
    """The threads of this process: those of the process it was forked from are not here."""
    return ThreadPoolExecutor(os.cpu_count())
