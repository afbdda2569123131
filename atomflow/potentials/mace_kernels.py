"""The loops of a MACE with scalar features, compiled for the processor by numba: values and slopes by hand.

U pairs of N atoms, C channels, M = (L+1)² harmonics Y_lm of L+1 degrees. A pair points from atom ``i`` to atom ``j``;
seen from j its harmonics are multiplied by (−1)^l. Sums over neighbours are laid out by degree: the row of Y_lm of
atom n is N·l² + n·(2l+1) + m, so that each degree is one block of rows for one matrix product.

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
    functions = (bonds, collect, slopes, polynomials, repel, pull)
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


def collect(start, stop, i, j, table, interval, powers, Y, h, n_degrees, A):  # type: ignore[no-untyped-def]
    """Add to A the messages of the pairs from start to stop: A_n,lm,c += S_l,c(r) h_c Y_lm, to either end."""
    n_atoms, n_channels = h.shape
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
        sign = h.dtype.type(1)
        for degree in range(n_degrees):
            width, first = 2 * degree + 1, n_atoms * degree * degree
            for c in range(n_channels):
                s = S[degree * n_channels + c]
                forth[c] = s * h[a, c]
                back[c] = sign * s * h[b, c]
            for m in range(width):
                y = Y[u, degree * degree + m]
                row = first + b * width + m
                for c in range(n_channels):
                    A[row, c] += y * forth[c]
                row = first + a * width + m
                for c in range(n_channels):
                    A[row, c] += y * back[c]
            sign = -sign


def slopes(  # type: ignore[no-untyped-def]
    start, stop, i, j, table, interval, powers, by_length, Y, h, n_degrees, G, wants_h, of_length, of_Y, of_h
):
    """What the length and the harmonics of each pair, and h if wanted, do to Σ G·A: added to the last three."""
    n_atoms, n_channels = h.shape
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
        sign, stretched = h.dtype.type(1), zero
        for degree in range(n_degrees):
            width, first, channel = 2 * degree + 1, n_atoms * degree * degree, degree * n_channels
            for c in range(n_channels):
                forth[c] = zero
                back[c] = zero
                sent[c] = S[channel + c] * h[a, c]
                returned[c] = S[channel + c] * h[b, c]
            for m in range(width):
                y, turned = Y[u, degree * degree + m], zero
                there, here = first + b * width + m, first + a * width + m
                for c in range(n_channels):
                    to, fro = G[there, c], sign * G[here, c]
                    forth[c] += y * to
                    back[c] += y * fro
                    turned += to * sent[c] + fro * returned[c]
                of_Y[u, degree * degree + m] += turned
            for c in range(n_channels):
                stretched += D[channel + c] * (forth[c] * h[a, c] + back[c] * h[b, c])
            if wants_h:
                for c in range(n_channels):
                    of_h[a, c] += forth[c] * S[channel + c]
                for c in range(n_channels):
                    of_h[b, c] += back[c] * S[channel + c]
            sign = -sign
        of_length[u] += stretched


def polynomials(  # type: ignore[no-untyped-def]
    start, stop, species, one, two, three, pairs, begins, rest, n_degrees, messages, B
):
    """B (N, C) of atoms start to stop from messages; the messages are replaced by the slopes of B by them.

    B = Σ_i one_i m_i + Σ_(p,q) m_p m_q (two_pq + Σ_s three_pqs m_s), weights by element and channel. The triples of a
    pair x stand from ``begins[x]`` to ``begins[x + 1]``; ``rest`` is their third message.
    """
    n_atoms, n_channels = B.shape
    n_messages = n_degrees * n_degrees
    m = np.empty((n_messages, n_channels), B.dtype)
    slope = np.empty((n_messages, n_channels), B.dtype)
    inner, product = np.empty(n_channels, B.dtype), np.empty(n_channels, B.dtype)
    rows = np.empty(n_messages, np.int64)
    for n in range(start, stop):
        z, x = species[n], 0
        for degree in range(n_degrees):
            for k in range(2 * degree + 1):
                rows[x] = n_atoms * degree * degree + n * (2 * degree + 1) + k
                x += 1
        B[n] = 0
        for x in range(n_messages):
            for c in range(n_channels):
                m[x, c] = messages[rows[x], c]
                slope[x, c] = one[z, x, c]
                B[n, c] += one[z, x, c] * m[x, c]
        for x in range(len(pairs)):
            p, q = pairs[x]
            for c in range(n_channels):
                inner[c] = two[z, x, c]
                product[c] = m[p, c] * m[q, c]
            for y in range(begins[x], begins[x + 1]):
                s = rest[y]
                for c in range(n_channels):
                    inner[c] += three[z, y, c] * m[s, c]
                    slope[s, c] += three[z, y, c] * product[c]
            for c in range(n_channels):
                B[n, c] += product[c] * inner[c]
                slope[p, c] += inner[c] * m[q, c]
            for c in range(n_channels):
                slope[q, c] += inner[c] * m[p, c]
        for x in range(n_messages):
            for c in range(n_channels):
                messages[rows[x], c] = slope[x, c]


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
