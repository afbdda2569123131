"""The loops of a MACE, compiled for the processor by numba: values and slopes by hand.

U pairs of N atoms, C channels, M = (L+1)² harmonics Y_lm of L+1 degrees. A pair points from atom ``i`` to atom ``j``.
What an atom has of several components, features, sums over neighbours, messages, is laid out by degree: component m of
degree l of atom n of what has w_l such sets is row N·Σ_(k<l) (2k+1)·w_k + (n·(2l+1) + m)·w_l and the following, so that
each degree is one block of rows for one matrix product.

The terms of a message are those of :mod:`atomflow.potentials.mace.paths`; K are their values, for scalar features the
harmonics themselves.

Every function here is plain Python until :func:`kernels` compiles it.
"""

from __future__ import annotations

import functools
import math
from types import SimpleNamespace

import numpy as np

from atomflow.potentials.compiled import available, compiled


@functools.cache
def kernels() -> SimpleNamespace | None:
    """The compiled functions of this file by name; None where numba is not installed."""
    if not available():
        return None
    functions = (bonds, collect, slopes, polynomials, chain, repel, pull)
    return SimpleNamespace(**{function.__name__: compiled(function) for function in functions})


def bonds(  # type: ignore[no-untyped-def]
    positions, lattices, owner, first, second, images, place, cutoff, n_intervals, exponents, of_degree, coefficients,
    i, j, length, unit, interval, powers, slopes, Y,
):
    """Pairs shorter than the cutoff: atoms, length, direction, place in the radial table and harmonics; their number.

    A pair whose length is not a number is kept, so that it shows in the energy.
    """
    n, n_powers, top = 0, powers.shape[1], coefficients.shape[0]
    raised = np.ones((3, exponents.max() + 1))
    v = np.empty(3)
    for u in range(len(first)):
        a, b = first[u], second[u]
        lattice = lattices[owner[a]]
        square = 0.0
        for x in range(3):
            v[x] = positions[b, x] - positions[a, x]
            for k in range(3):
                v[x] += images[u, k] * lattice[k, x]
            square += v[x] * v[x]
        if square >= cutoff * cutoff:
            continue
        r = math.sqrt(square)
        i[n], j[n], length[n], interval[n] = place[a], place[b], r, 0
        along = r / cutoff * n_intervals
        if along >= 0:  # false for what is not a number
            interval[n] = min(int(along), n_intervals - 1)
        t, power = 2 * (along - interval[n]) - 1, 1.0
        for k in range(n_powers):
            powers[n, k] = power
            if k + 1 < n_powers:
                slopes[n, k + 1] = (k + 1) * power * 2 * n_intervals / cutoff
            power *= t
        slopes[n, 0] = 0.0
        for x in range(3):
            unit[n, x] = v[x] / r
            for k in range(1, raised.shape[1]):
                raised[x, k] = raised[x, k - 1] * unit[n, x]
        for m in range(top):
            value = 0.0
            for k in range(of_degree[m, 0], of_degree[m, 1]):
                value += coefficients[m, k] * (
                    raised[0, exponents[k, 0]] * raised[1, exponents[k, 1]] * raised[2, exponents[k, 2]]
                )
            Y[n, m] = value
        n += 1
    return n


def collect(  # type: ignore[no-untyped-def]
    start, stop, i, j, table, interval, powers, K, h, path, reads, begins, adds, parity, A
):
    """Add to A the messages of the pairs from start to stop, at either end: S_p,c(r) h_f,c K_q.

    A group of terms g has the path[g] and reads the row reads[g, 0] + n·reads[g, 1] of h for atom n; its terms are
    those from begins[g] to begins[g + 1], and term q is added to the row adds[q, 0] + n·adds[q, 1] of A.
    """
    n_channels = h.shape[1]
    S = np.empty(table.shape[2], h.dtype)
    forth, back = np.empty(n_channels, h.dtype), np.empty(n_channels, h.dtype)
    for u in range(start, stop):
        a, b, k = i[u], j[u], interval[u]
        S[:] = 0
        for p in range(0, table.shape[1], 4):  # four at a time: S goes through memory less often
            t0, t1, t2, t3 = powers[u, p], powers[u, p + 1], powers[u, p + 2], powers[u, p + 3]
            for c in range(len(S)):
                f0, f1, f2, f3 = table[k, p, c], table[k, p + 1, c], table[k, p + 2, c], table[k, p + 3, c]
                S[c] += t0 * f0 + t1 * f1 + t2 * f2 + t3 * f3
        for g in range(len(path)):
            channel = path[g] * n_channels
            from_a, from_b = reads[g, 0] + a * reads[g, 1], reads[g, 0] + b * reads[g, 1]
            for c in range(n_channels):
                s = S[channel + c]
                forth[c] = s * h[from_a, c]
                back[c] = s * h[from_b, c]
            for q in range(begins[g], begins[g + 1]):
                y = K[u, q]
                z = y * parity[q]
                row = adds[q, 0] + b * adds[q, 1]
                for c in range(n_channels):
                    A[row, c] += y * forth[c]
                row = adds[q, 0] + a * adds[q, 1]
                for c in range(n_channels):
                    A[row, c] += z * back[c]


def slopes(  # type: ignore[no-untyped-def]
    start, stop, i, j, table, interval, powers, by_length, K, h, path, reads, begins, adds, parity, G, wants_h,
    of_length, of_K, of_h,
):
    """What the length of each pair and h, if wanted, do to Σ G·A is added; what the terms do is written to of_K."""
    n_channels = h.shape[1]
    zero = h.dtype.type(0)
    S, D = np.empty(table.shape[2], h.dtype), np.empty(table.shape[2], h.dtype)
    forth, back = np.empty(n_channels, h.dtype), np.empty(n_channels, h.dtype)
    sent, returned = np.empty(n_channels, h.dtype), np.empty(n_channels, h.dtype)
    for u in range(start, stop):
        a, b, k = i[u], j[u], interval[u]
        S[:] = 0
        D[:] = 0
        for p in range(0, table.shape[1], 4):
            t0, t1, t2, t3 = powers[u, p], powers[u, p + 1], powers[u, p + 2], powers[u, p + 3]
            s0, s1, s2, s3 = by_length[u, p], by_length[u, p + 1], by_length[u, p + 2], by_length[u, p + 3]
            for c in range(len(S)):
                f0, f1, f2, f3 = table[k, p, c], table[k, p + 1, c], table[k, p + 2, c], table[k, p + 3, c]
                S[c] += t0 * f0 + t1 * f1 + t2 * f2 + t3 * f3
                D[c] += s0 * f0 + s1 * f1 + s2 * f2 + s3 * f3
        stretched = zero
        for g in range(len(path)):
            channel = path[g] * n_channels
            from_a, from_b = reads[g, 0] + a * reads[g, 1], reads[g, 0] + b * reads[g, 1]
            for c in range(n_channels):
                forth[c] = zero
                back[c] = zero
                sent[c] = S[channel + c] * h[from_a, c]
                returned[c] = S[channel + c] * h[from_b, c]
            for q in range(begins[g], begins[g + 1]):
                y, sign, turned = K[u, q], parity[q], zero
                there, here = adds[q, 0] + b * adds[q, 1], adds[q, 0] + a * adds[q, 1]
                for c in range(n_channels):
                    to, fro = G[there, c], sign * G[here, c]
                    forth[c] += y * to
                    back[c] += y * fro
                    turned += to * sent[c] + fro * returned[c]
                of_K[u, q] = turned
            for c in range(n_channels):
                stretched += D[channel + c] * (forth[c] * h[from_a, c] + back[c] * h[from_b, c])
            if wants_h:
                for c in range(n_channels):
                    of_h[from_a, c] += forth[c] * S[channel + c]
                for c in range(n_channels):
                    of_h[from_b, c] += back[c] * S[channel + c]
        of_length[u] += stretched


def polynomials(  # type: ignore[no-untyped-def]
    start, stop, species, lone, one, pairs, two, begins, rest, three, reads, writes, messages, B, slopes
):
    """B of atoms start to stop from messages, and the slopes of each component of B by the messages.

    B_k = Σ_i one_i m_i + Σ_(p,q) m_p m_q (two_pq + Σ_s three_pqs m_s), weights by element and channel. ``lone`` (I, 2)
    holds message and component k of each single, ``pairs`` (Q, 3) two messages and k of each pair; the triples of a
    pair x stand from ``begins[x]`` to ``begins[x + 1]``, ``rest`` is their third message. ``reads`` and ``writes``
    (…, 2) say in which row messages and components stand, as in :func:`collect`; ``slopes`` (components, rows of
    messages, C).
    """
    n_messages, n_channels, n_results = len(reads), B.shape[1], len(writes)
    m = np.empty((n_messages, n_channels), B.dtype)
    made = np.empty((n_results, n_channels), B.dtype)
    slope = np.empty((n_results, n_messages, n_channels), B.dtype)
    inner, product = np.empty(n_channels, B.dtype), np.empty(n_channels, B.dtype)
    for n in range(start, stop):
        z = species[n]
        made[:] = 0
        slope[:] = 0
        for x in range(n_messages):
            row = reads[x, 0] + n * reads[x, 1]
            for c in range(n_channels):
                m[x, c] = messages[row, c]
        for x in range(len(lone)):
            p, k = lone[x]
            for c in range(n_channels):
                slope[k, p, c] += one[z, x, c]
                made[k, c] += one[z, x, c] * m[p, c]
        for x in range(len(pairs)):
            p, q, k = pairs[x]
            for c in range(n_channels):
                inner[c] = two[z, x, c]
                product[c] = m[p, c] * m[q, c]
            for y in range(begins[x], begins[x + 1]):
                s = rest[y]
                for c in range(n_channels):
                    inner[c] += three[z, y, c] * m[s, c]
                    slope[k, s, c] += three[z, y, c] * product[c]
            for c in range(n_channels):
                made[k, c] += product[c] * inner[c]
                slope[k, p, c] += inner[c] * m[q, c]
            for c in range(n_channels):
                slope[k, q, c] += inner[c] * m[p, c]
        for k in range(n_results):
            row = writes[k, 0] + n * writes[k, 1]
            for c in range(n_channels):
                B[row, c] = made[k, c]
            for x in range(n_messages):
                row = reads[x, 0] + n * reads[x, 1]
                for c in range(n_channels):
                    slopes[k, row, c] = slope[k, x, c]


def chain(n_atoms, reads, writes, pull, slopes, made):  # type: ignore[no-untyped-def]
    """made = Σ_k pull_k · slopes_k, for the components k of :func:`polynomials`; ``made`` may be slopes[0]."""
    for n in range(n_atoms):
        for x in range(len(reads)):
            row = reads[x, 0] + n * reads[x, 1]
            for k in range(len(writes)):
                by = writes[k, 0] + n * writes[k, 1]
                for c in range(pull.shape[1]):
                    part = pull[by, c] * slopes[k, row, c]
                    made[row, c] = part if k == 0 else made[row, c] + part


def repel(  # type: ignore[no-untyped-def]
    n_pairs, i, j, length, elements, reach_A, strength_eV_A, size_A, decays, shares, p, energies, of_length
):
    """Add mace-torch's ``ZBLBasis`` to the atoms' energies and to what a longer pair does to their sum."""
    for u in range(n_pairs):
        a, b, r = i[u], j[u], length[u]
        y, z = elements[a], elements[b]
        reach, size, strength = reach_A[y, z], size_A[y, z], strength_eV_A[y, z] / r
        if not r < reach:
            continue
        screen, bend = 0.0, 0.0
        for k in range(len(decays)):
            term = shares[k] * math.exp(-decays[k] * r / size)
            screen += term
            bend -= decays[k] / size * term
        x = r / reach
        power = x ** (p - 1)
        fade = 1 - power * x * ((p + 1) * (p + 2) / 2 - x * (p * (p + 2) - x * (p * (p + 1) / 2)))
        faded = -power * (1 - x) * (1 - x) * (p * (p + 1) * (p + 2) / 2) / reach
        pushed = strength * screen * fade
        energies[a] += 0.5 * pushed
        energies[b] += 0.5 * pushed
        of_length[u] += strength * (bend * fade + screen * faded) - pushed / r


def pull(  # type: ignore[no-untyped-def]
    n_pairs, i, j, length, unit, exponents, of_degree, coefficients, of_length, of_Y, owner, forces, virials
):
    """From slopes by length and harmonics to forces (N, 3) and Σ v ⊗ dE/dv of each system, added."""
    top, n_terms = coefficients.shape[0], coefficients.shape[1]
    raised = np.ones((3, exponents.max() + 1))
    weights, g = np.empty(n_terms), np.empty(3)
    for u in range(n_pairs):
        a, b, system = i[u], j[u], owner[i[u]]
        weights[:] = 0.0
        for m in range(top):
            for k in range(of_degree[m, 0], of_degree[m, 1]):
                weights[k] += of_Y[u, m] * coefficients[m, k]
        for x in range(3):
            for k in range(1, raised.shape[1]):
                raised[x, k] = raised[x, k - 1] * unit[u, x]
        g[:] = 0.0
        for k in range(n_terms):
            p, q, s = exponents[k]
            if p:
                g[0] += weights[k] * p * raised[0, p - 1] * raised[1, q] * raised[2, s]
            if q:
                g[1] += weights[k] * q * raised[0, p] * raised[1, q - 1] * raised[2, s]
            if s:
                g[2] += weights[k] * s * raised[0, p] * raised[1, q] * raised[2, s - 1]
        radial = g[0] * unit[u, 0] + g[1] * unit[u, 1] + g[2] * unit[u, 2]
        for x in range(3):
            g[x] = (g[x] - radial * unit[u, x]) / length[u] + of_length[u] * unit[u, x]
            forces[a, x] += g[x]
            forces[b, x] -= g[x]
        for x in range(3):
            for y in range(3):
                virials[system, x, y] += length[u] * unit[u, x] * g[y]
