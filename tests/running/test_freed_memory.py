"""Processes of ours keep the memory they free; page faults are counted, not seconds."""

import os
import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="settings of glibc")

# Prints what `keep_freed_memory` returned, the least page faults of a tensor that is made again and again, and the MB
# that `return_freed_memory` returns.
PROGRAM = """
import resource
import torch
from batchscope.running.freed_memory import keep_freed_memory, return_freed_memory

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() / 1e6

kept, made = {call}, []
for _ in range(6):
    began = faults()
    torch.ones(25_000_000)
    made.append(faults() - began)
before = resident()
return_freed_memory()
print(kept, min(made), before - resident())
"""


def faults_and_memory(call="keep_freed_memory()", **environment) -> tuple[str, int, float]:
    program = [sys.executable, "-c", PROGRAM.format(call=call)]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_TUN"))}
    done = subprocess.run(program, capture_output=True, text=True, check=True, env=inherited | environment)
    kept, faults, returned = done.stdout.split()
    return kept, int(faults), float(returned)


@pytest.mark.system
def test_a_tensor_made_again_costs_no_page_faults_and_what_is_kept_can_be_returned():
    pages = 100_000_000 // os.sysconf("SC_PAGE_SIZE")
    kept, faults, returned = faults_and_memory()
    assert kept == "True"
    assert faults < 0.05 * pages
    assert returned > 80  # MB of the 100
    _, without, _ = faults_and_memory("None")
    assert without > 0.9 * pages


@pytest.mark.system
def test_settings_of_the_user_are_left_alone():
    kept, _, _ = faults_and_memory(MALLOC_ARENA_MAX="2")
    assert kept == "False"
