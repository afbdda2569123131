"""Freed memory stays with the process: the next step's arrays fault no pages."""

import os
import platform
import subprocess
import sys

import pytest

from atomflow.potentials.allocator import keep_freed_memory

pytest.importorskip("torch")


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
@pytest.mark.parametrize(("setting", "kept"), [({}, True), ({"MALLOC_TRIM_THRESHOLD_": "131072"}, False),
                                               ({"GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=131072"}, False)])
def test_freed_memory_is_not_asked_for_anew_unless_the_user_says_otherwise(setting, kept):
    """Faults of pages while 64 MB are taken and dropped fifty times: 16384 pages each time, or hardly any."""
    code = """
import resource, torch
from atomflow.potentials.allocator import keep_freed_memory
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(50):
        torch.ones(1 << 24)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
done = keep_freed_memory()
torch.ones(1 << 24)
print(done, faults())
"""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("MALLOC_", "GLIBC_"))}
    answer = subprocess.run([sys.executable, "-c", code], env=environment | setting, capture_output=True, text=True)
    done, faults = answer.stdout.split()
    assert done == str(kept), answer.stderr
    assert (int(faults) < 50 * 16384 / 4) == kept


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert keep_freed_memory() is False


def test_loading_a_potential_for_a_cpu_keeps_memory(monkeypatch):
    from atomflow import potentials
    from atomflow.potentials import loading

    asked = []
    monkeypatch.setattr(loading, "keep_freed_memory", lambda: asked.append(True))
    potentials.load("lennard-jones-argon", device="cpu")
    assert asked
