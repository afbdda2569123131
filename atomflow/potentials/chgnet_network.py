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
from atomflow.potentials.chgnet_angles import angle_pairs

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
        # Short bonds, which form angles, stand first; only they change from layer to layer.
        is_short = lengths.detach().squeeze(-1) < self.bond_cutoff_A
        short_bonds = torch.nonzero(is_short).squeeze(-1)
        n_short = len(short_bonds)
        order = torch.cat((short_bonds, torch.nonzero(~is_short).squeeze(-1)))
        first, second, vectors, lengths = first[order], second[order], vectors[order], lengths[order]

        basis = self.radial_basis(lengths, self.cutoff_A, w["atom_frequencies"])
        weights = linear(basis, w["bond_weights_ag.weight"])
        near_basis, far_basis = basis.split((n_short, len(basis) - n_short))
        short = _ShortBonds(self, first[:n_short], second[:n_short], vectors[:n_short], lengths[:n_short], len(species))
        near_bonds, angles = linear(near_basis, w["bond_embedding.weight"]), short.angles(w)
        atoms = w["embedding"][species - 1]
        for layer in range(self.n_layers):
            middle = torch.cat((linear(near_bonds, w[f"atom{layer}.bond"]), linear(far_basis, w[f"atom{layer}.far"])))
            atoms = self._atom_update(layer, atoms, middle, weights, first, second)
            if layer < self.n_layers - 1 and len(angles):
                near_bonds = self._bond_update(layer, atoms, near_bonds, angles, short)
            if layer < self.n_layers - 2 and len(angles):
                angles = self._angle_update(layer, atoms, near_bonds, angles, short)
        atoms = layer_norm(atoms, atoms.shape[1:], w["readout_norm.weight"], w["readout_norm.bias"])
        for index in (0, 2, 4):
            atoms = silu(linear(atoms, w[f"mlp.layers.{index}.weight"], w[f"mlp.layers.{index}.bias"]))
        return linear(atoms, w["mlp.layers.7.weight"], w["mlp.layers.7.bias"]).squeeze(-1)

    def _atom_update(
        self, layer: int, atoms: Tensor, middle: Tensor, weights: Tensor, first: Tensor, second: Tensor
    ) -> Tensor:
        """New atom features (N, F). ``middle`` (U, 2F) is the bonds' part of the first linear layer."""
        w, name = self.weights, f"atom{layer}"
        center = linear(atoms, w[f"{name}.center"], w[f"{name}.bias"])
        neighbour = linear(atoms, w[f"{name}.neighbour"])
        joined = torch.cat((
            center[first] + neighbour[second] + middle,
            center[second] + neighbour[first] + middle,
        ))
        messages = self._gate(name, *self._second_layer(name, joined)) * torch.cat((weights, weights))
        gathered = torch.zeros_like(atoms).index_add(0, torch.cat((first, second)), messages)
        return atoms + linear(gathered, w[f"{name}.out"])

    def _bond_update(self, layer: int, atoms: Tensor, bonds: Tensor, angles: Tensor, short: _ShortBonds) -> Tensor:
        name = f"bond{layer}"
        joined = self._joined(name, atoms, bonds, angles, short)
        messages = self._gate(name, *self._second_layer(name, joined)) * short.right_weights
        gathered = torch.zeros_like(short.weights).index_add(0, short.left, messages) * short.weights
        forth, back = gathered.split(len(bonds))
        return bonds + linear(forth + back, self.weights[f"{name}.out"])

    def _angle_update(self, layer: int, atoms: Tensor, bonds: Tensor, angles: Tensor, short: _ShortBonds) -> Tensor:
        name = f"angle{layer}"
        joined = self._joined(name, atoms, bonds, angles, short)
        return angles + self._gate(name, *joined.split(joined.shape[1] // 2, dim=1))

    def _joined(self, name: str, atoms: Tensor, bonds: Tensor, angles: Tensor, short: _ShortBonds) -> Tensor:
        """First linear layer over (left bond, right bond, angle, shared atom), for every angle."""
        w = self.weights
        left = linear(bonds, w[f"{name}.left"]).repeat(2, 1)
        left = left + linear(atoms, w[f"{name}.atom"], w[f"{name}.bias"])[short.centers]
        right = linear(bonds, w[f"{name}.right"]).repeat(2, 1)
        return linear(angles, w[f"{name}.angle"]) + left[short.left] + right[short.right]

    def _second_layer(self, name: str, joined: Tensor) -> tuple[Tensor, Tensor]:
        """The two branches, core and gate, after their second linear layer."""
        w = self.weights
        core, gate = silu(joined).split(joined.shape[1] // 2, dim=1)
        return (
            linear(core, w[f"{name}.core"], w[f"{name}.core_bias"]),
            linear(gate, w[f"{name}.gate"], w[f"{name}.gate_bias"]),
        )

    def _gate(self, name: str, core: Tensor, gate: Tensor) -> Tensor:
        """silu(norm(core)) · sigmoid(norm(gate))."""
        w, shape = self.weights, core.shape[1:]
        core = layer_norm(core, shape, w[f"{name}.norm_core"], w[f"{name}.norm_core_bias"])
        gate = layer_norm(gate, shape, w[f"{name}.norm_gate"], w[f"{name}.norm_gate_bias"])
        return silu(core) * torch.sigmoid(gate)


class _ShortBonds:
    """Bonds short enough to form angles, as directed edges 0…S−1 (first → second) and S…2S−1 (second → first).

    ``left`` and ``right`` (A,) are the two directed edges of every angle, ``centers`` (2S,) the atom an edge leaves,
    ``weights`` (2S, F) how much a bond counts, ``right_weights`` (A, F) how much the right one of an angle does.
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
        self.right_weights = self.weights[self.right]

    def angles(self, w: dict[str, Tensor]) -> Tensor:
        """First features (A, F) of the angles: a Fourier series of each."""
        # 1 - 1e-6 keeps the slope of the arc cosine finite at 0 and 180 degrees, as in the original.
        cosine = (self.units[self.left] * self.units[self.right]).sum(-1, keepdim=True) * (1 - 1e-6)
        phases = torch.acos(cosine) * w["angle_frequencies"]
        return linear(torch.cat((torch.sin(phases), torch.cos(phases)), dim=1), w["angle_features"], w["angle_bias"])


def _arranged(state: dict[str, Tensor], n_layers: int) -> dict[str, Tensor]:
    """The published weights, regrouped by what they act on."""
    as_they_are = ("mlp.", "readout_norm.", "bond_weights_", "bond_embedding.")
    w = {key: state[key] for key in state if key.startswith(as_they_are)}
    w["embedding"] = state["atom_embedding.embedding.weight"]
    w["atom_frequencies"] = state["bond_basis_expansion.rbf_expansion_ag.frequencies"]
    w["bond_frequencies"] = state["bond_basis_expansion.rbf_expansion_bg.frequencies"]
    w["angle_frequencies"] = state["angle_basis_expansion.fourier_expansion.frequencies"]
    series = state["angle_embedding.weight"] / math.sqrt(math.pi)
    w["angle_features"], w["angle_bias"] = series[:, 1:], series[:, 0] / math.sqrt(2)

    width = w["embedding"].shape[1]
    for layer in range(n_layers):
        name, source = f"atom{layer}", f"atom_conv_layers.{layer}"
        w |= _two_branches(name, f"{source}.twoBody_atom", state, ("center", "bond", "neighbour"), first_layer=0)
        w[f"{name}.far"] = w[f"{name}.bond"] @ w["bond_embedding.weight"]
        w[f"{name}.out"] = state[f"{source}.mlp_out.layers.1.weight"]
    parts = ("left", "right", "angle", "atom")
    for layer in range(n_layers - 1):
        source = f"bond_conv_layers.{layer}"
        w |= _two_branches(f"bond{layer}", f"{source}.twoBody_bond", state, parts, first_layer=0)
        w[f"bond{layer}.out"] = state[f"{source}.mlp_out.layers.1.weight"]
    for layer in range(n_layers - 2):
        w |= _two_branches(f"angle{layer}", f"angle_layers.{layer}.twoBody_bond", state, parts, first_layer=1)
    if any(w[f"{name}.bias"].shape != (2 * width,) for name in ("atom0", "bond0", "angle0")):
        raise InputError("this CHGNet has layers of unequal width, which atomflow does not evaluate")
    return w


def _two_branches(
    name: str, source: str, state: dict[str, Tensor], parts: tuple[str, ...], first_layer: int
) -> dict[str, Tensor]:
    """Core and gate branch of a layer: the first linear layer of both joined and cut into the parts it acts on."""
    core, gate = f"{source}.mlp_core.layers", f"{source}.mlp_gate.layers"
    joint = torch.cat((state[f"{core}.{first_layer}.weight"], state[f"{gate}.{first_layer}.weight"]))
    w = {f"{name}.{part}": piece.contiguous() for part, piece in zip(parts, joint.chunk(len(parts), 1), strict=True)}
    w[f"{name}.bias"] = torch.cat((state[f"{core}.{first_layer}.bias"], state[f"{gate}.{first_layer}.bias"]))
    for branch, norm in (("core", "bn1"), ("gate", "bn2")):
        w[f"{name}.norm_{branch}"] = state[f"{source}.{norm}.weight"]
        w[f"{name}.norm_{branch}_bias"] = state[f"{source}.{norm}.bias"]
        if first_layer == 0:
            w[f"{name}.{branch}"] = state[f"{source}.mlp_{branch}.layers.3.weight"]
            w[f"{name}.{branch}_bias"] = state[f"{source}.mlp_{branch}.layers.3.bias"]
    return w
