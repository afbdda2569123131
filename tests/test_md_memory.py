"""Freed memory stays with the process: the next step's arrays fault no pages."""

import resource
import sys

import pytest
import torch

from atomflow.md.memory import keep_freed_memory


def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.empty(1_000_000, dtype=torch.float64).fill_(1.0)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc only")
def test_arrays_of_a_step_are_faulted_in_once():
    if not keep_freed_memory():
        pytest.skip("another C library")
    faults()
    assert faults() < 200  # one array alone has 1953 pages


def test_elsewhere_it_says_that_it_did_nothing(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert keep_freed_memory() is False
