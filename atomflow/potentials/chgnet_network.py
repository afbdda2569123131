"""The CHGNet network (B. Deng et al., Nat. Mach. Intell. 5, 1031 (2023)) on flat batches, from its published weights.

The same function as the ``chgnet`` package computes, arranged so that it costs less: a linear layer over joined
features, W·[a, b, c], is W_a·a + W_b·b + W_c·c, and each part is computed once an atom or once a bond instead of once
an edge or once an angle; two-branch layers run as one; the last update of the angles, which nothing reads, is left out.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import layer_norm, linear, silu

from atomflow.errors import InputError
from atomflow.potentials.chgnet_graph import angle_pairs

#: The architecture that this file computes. Every published CHGNet has it.
_ARCHITECTURE = {
    "update_bond": True,
    "update_angle": True,
    "mlp_first": True,
    "gMLP_norm": "layer",
    "readout_norm": "layer",
    "non_linearity": "silu",
    "conv_dropout": 0,
    "angle_layer_hidden_dim": 0,
    "is_intensive": True,
}


class ChgnetNetwork:
    """CHGNet's weights, arranged for evaluation. Not a torch module: nothing in it is trained here."""

    def __init__(self, arguments: dict[str, Any], state: dict[str, Tensor]) -> None:
        for key, value in _ARCHITECTURE.items():
            if arguments.get(key) != value:
                raise InputError(f"this CHGNet has {key}={arguments.get(key)}; atomflow evaluates those with {value}")
        self.cutoff_A = float(arguments["atom_graph_cutoff"])
        self.bond_cutoff_A = float(arguments["bond_graph_cutoff"])
        self.envelope_power = int(arguments["cutoff_coeff"])
        self.n_layers = int(arguments["n_conv"])
        self.weights: dict[str, Tensor] = _arranged(state, self.n_layers)

    def to(self, device: torch.device, dtype: torch.dtype) -> ChgnetNetwork:
        """Move and cast the weights, in place (a shallow copy keeps its own)."""
        self.weights = {key: value.to(device=device, dtype=dtype) for key, value in self.weights.items()}
        return self

    def radial_basis(self, lengths: Tensor, cutoff_A: float, frequencies: Tensor) -> Tensor:
        """Smoothly cut-off Bessel functions (U, R) of the lengths (U, 1)."""
        p = self.envelope_power
        x = lengths / cutoff_A
        power = x**p
        envelope = 1 + power * (-(p + 1) * (p + 2) / 2 + x * (p * (p + 2) - x * (p * (p + 1) / 2)))
        envelope = torch.where(x < 1, envelope, torch.zeros_like(envelope))
        return (math.sqrt(2 / cutoff_A) * envelope / lengths) * torch.sin(frequencies * x)

    def energies(self, species: Tensor, first: Tensor, second: Tensor, vectors: Tensor) -> Tensor:
        """Energies (N,) of the atoms in eV, without the reference energies of the elements.

        Args:
            species: (N,) atomic numbers.
            first: (U,) atom at which each undirected bond starts.
            second: (U,) atom at which it ends.
            vectors: (U, 3) from first to second, in Å; all shorter than the cutoff. Differentiable.
        """
        w = self.weights
        lengths = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
        near = torch.argsort((lengths.detach().squeeze(-1) >= self.bond_cutoff_A).to(torch.int8), stable=True)
        n_short = int((lengths < self.bond_cutoff_A).sum())
        first, second, vectors, lengths = first[near], second[near], vectors[near], lengths[near]

        basis = self.radial_basis(lengths, self.cutoff_A, w["atom_frequencies"])
        features = linear(basis, w["bond_features"])
        width = features.shape[1] // 2
        bonds, atom_weights = features[:, :width], features[:, width:]
        short = _ShortBonds(self, first[:n_short], second[:n_short], vectors[:n_short], lengths[:n_short], len(species))
        angles = short.angles(w)
        atoms = w["embedding"][species - 1]
        far_bonds, near_bonds = bonds[n_short:], bonds[:n_short]
        for layer in range(self.n_layers):
            atoms = self._atom_update(layer, atoms, torch.cat((near_bonds, far_bonds)), atom_weights, first, second)
            if layer < self.n_layers - 1 and len(angles):
                near_bonds = self._bond_update(layer, atoms, near_bonds, angles, short)
            if layer < self.n_layers - 2 and len(angles):
                angles = self._angle_update(layer, atoms, near_bonds, angles, short)
        atoms = layer_norm(atoms, (width,), w["readout_norm.weight"], w["readout_norm.bias"])
        for index in (0, 2, 4):
            atoms = silu(linear(atoms, w[f"mlp.layers.{index}.weight"], w[f"mlp.layers.{index}.bias"]))
        return linear(atoms, w["mlp.layers.7.weight"], w["mlp.layers.7.bias"]).squeeze(-1)

    def _atom_update(
        self, layer: int, atoms: Tensor, bonds: Tensor, weights: Tensor, first: Tensor, second: Tensor
    ) -> Tensor:
        w, name = self.weights, f"atom{layer}"
        ends = linear(atoms, w[f"{name}.ends"], w[f"{name}.bias"])
        at_first, at_second = ends[first], ends[second]
        half = ends.shape[1] // 2
        middle = linear(bonds, w[f"{name}.bond"])
        joined = torch.cat((
            at_first[:, :half] + at_second[:, half:] + middle,
            at_second[:, :half] + at_first[:, half:] + middle,
        ))
        messages = self._gate(name, self._second_layer(name, silu(joined)))
        messages = messages * torch.cat((weights, weights))
        gathered = torch.zeros_like(atoms).index_add(0, torch.cat((first, second)), messages)
        return atoms + linear(gathered, w[f"{name}.out"])

    def _bond_update(self, layer: int, atoms: Tensor, bonds: Tensor, angles: Tensor, short: _ShortBonds) -> Tensor:
        name = f"bond{layer}"
        joined = self._joined(name, atoms, bonds, angles, short)
        messages = self._gate(name, self._second_layer(name, silu(joined)))
        messages = messages * short.weights[short.right]
        gathered = torch.zeros_like(short.weights).index_add(0, short.left, messages) * short.weights
        n_bonds = len(bonds)
        return bonds + linear(gathered[:n_bonds] + gathered[n_bonds:], self.weights[f"{name}.out"])

    def _angle_update(self, layer: int, atoms: Tensor, bonds: Tensor, angles: Tensor, short: _ShortBonds) -> Tensor:
        name = f"angle{layer}"
        return angles + self._gate(name, self._joined(name, atoms, bonds, angles, short))

    def _joined(self, name: str, atoms: Tensor, bonds: Tensor, angles: Tensor, short: _ShortBonds) -> Tensor:
        """First linear layer over (left bond, right bond, angle, shared atom), for every angle."""
        w = self.weights
        both = linear(bonds, w[f"{name}.bonds"])
        both = torch.cat((both, both))
        half = both.shape[1] // 2
        left = both[:, :half] + linear(atoms, w[f"{name}.atom"], w[f"{name}.bias"])[short.centers]
        return linear(angles, w[f"{name}.angle"]) + left[short.left] + both[:, half:][short.right]

    def _second_layer(self, name: str, hidden: Tensor) -> Tensor:
        w = self.weights
        half = hidden.shape[1] // 2
        core = linear(hidden[:, :half], w[f"{name}.core"], w[f"{name}.core_bias"])
        gate = linear(hidden[:, half:], w[f"{name}.gate"], w[f"{name}.gate_bias"])
        return torch.cat((core, gate), dim=1)

    def _gate(self, name: str, joined: Tensor) -> Tensor:
        """silu(norm(core)) · sigmoid(norm(gate)) of the two halves."""
        w = self.weights
        half = joined.shape[1] // 2
        core = layer_norm(joined[:, :half], (half,), w[f"{name}.norm_core"], w[f"{name}.norm_core_bias"])
        gate = layer_norm(joined[:, half:], (half,), w[f"{name}.norm_gate"], w[f"{name}.norm_gate_bias"])
        return silu(core) * torch.sigmoid(gate)


class _ShortBonds:
    """Bonds short enough to form angles, as directed edges 0…S−1 (first → second) and S…2S−1 (second → first).

    ``left`` and ``right`` (A,) are the two directed edges of every angle, ``centers`` (2S,) the atom an edge leaves,
    ``weights`` (2S, F) how much a bond counts.
    """

    def __init__(
        self, network: ChgnetNetwork, first: Tensor, second: Tensor, vectors: Tensor, lengths: Tensor, n_atoms: int
    ) -> None:
        self.centers = torch.cat((first, second))
        self.left, self.right = angle_pairs(self.centers, n_atoms)
        units = vectors / lengths
        self.units = torch.cat((units, -units))
        basis = network.radial_basis(lengths, network.bond_cutoff_A, network.weights["bond_frequencies"])
        weights = linear(basis, network.weights["bond_weights_bg.weight"])
        self.weights = torch.cat((weights, weights))

    def angles(self, w: dict[str, Tensor]) -> Tensor:
        """First features (A, F) of the angles: a Fourier series of each."""
        # 1 - 1e-6 keeps the slope of the arc cosine finite at 0 and 180 degrees, as in the original.
        cosine = (self.units[self.left] * self.units[self.right]).sum(-1, keepdim=True) * (1 - 1e-6)
        phases = torch.acos(cosine) * w["angle_frequencies"]
        return linear(torch.cat((torch.sin(phases), torch.cos(phases)), dim=1), w["angle_features"], w["angle_bias"])


def _arranged(state: dict[str, Tensor], n_layers: int) -> dict[str, Tensor]:
    """The published weights, regrouped by what they act on."""
    w = {key: state[key] for key in state if key.startswith(("mlp.", "readout_norm.", "bond_weights_bg."))}
    w["embedding"] = state["atom_embedding.embedding.weight"]
    w["atom_frequencies"] = state["bond_basis_expansion.rbf_expansion_ag.frequencies"]
    w["bond_frequencies"] = state["bond_basis_expansion.rbf_expansion_bg.frequencies"]
    w["bond_features"] = torch.cat((state["bond_embedding.weight"], state["bond_weights_ag.weight"]))
    w["angle_frequencies"] = state["angle_basis_expansion.fourier_expansion.frequencies"]
    series = state["angle_embedding.weight"] / math.sqrt(math.pi)
    w["angle_features"], w["angle_bias"] = series[:, 1:], series[:, 0] / math.sqrt(2)

    def add(name: str, source: str, first_layer: int, parts: dict[str, slice | tuple[slice, slice]]) -> None:
        core, gate = f"{source}.mlp_core.layers", f"{source}.mlp_gate.layers"
        joint = torch.cat((state[f"{core}.{first_layer}.weight"], state[f"{gate}.{first_layer}.weight"]))
        for part, columns in parts.items():
            pieces = columns if isinstance(columns, tuple) else (columns,)
            w[f"{name}.{part}"] = torch.cat([joint[:, piece] for piece in pieces]).contiguous()
        bias = torch.cat((state[f"{core}.{first_layer}.bias"], state[f"{gate}.{first_layer}.bias"]))
        w[f"{name}.bias"] = bias
        for branch, norm in (("core", "bn1"), ("gate", "bn2")):
            w[f"{name}.norm_{branch}"] = state[f"{source}.{norm}.weight"]
            w[f"{name}.norm_{branch}_bias"] = state[f"{source}.{norm}.bias"]
            second = f"{source}.mlp_{branch}.layers.3"
            if first_layer == 0:
                w[f"{name}.{branch}"], w[f"{name}.{branch}_bias"] = state[f"{second}.weight"], state[f"{second}.bias"]

    width = w["embedding"].shape[1]
    one, two, three, four = (slice(k * width, (k + 1) * width) for k in range(4))
    for layer in range(n_layers):
        add(f"atom{layer}", f"atom_conv_layers.{layer}.twoBody_atom", 0, {"ends": (one, three), "bond": two})
        w[f"atom{layer}.bias"] = torch.cat((w[f"atom{layer}.bias"], torch.zeros(2 * width)))
        w[f"atom{layer}.out"] = state[f"atom_conv_layers.{layer}.mlp_out.layers.1.weight"]
    parts: dict[str, slice | tuple[slice, slice]] = {"bonds": (one, two), "angle": three, "atom": four}
    for layer in range(n_layers - 1):
        add(f"bond{layer}", f"bond_conv_layers.{layer}.twoBody_bond", 0, parts)
        w[f"bond{layer}.out"] = state[f"bond_conv_layers.{layer}.mlp_out.layers.1.weight"]
        if layer < n_layers - 2:
            add(f"angle{layer}", f"angle_layers.{layer}.twoBody_bond", 1, parts)
    return w
