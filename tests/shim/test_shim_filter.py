"""The filter, run by an interpreter of our own: what it says on each architecture."""

from __future__ import annotations

import struct

import pytest

from maildir_safe._shim import calls, filter as filters


def verdict(code: bytes, arch: int, number: int) -> int:
    """What the filter answers: a classic BPF machine with the three instructions that we use."""
    data = struct.pack("=iIQ6Q", number if number < 1 << 31 else number - (1 << 32), arch, 0, *[0] * 6)
    lines = [struct.unpack_from("=HBBI", code, at) for at in range(0, len(code), 8)]
    at = value = 0
    while True:
        operation, if_true, if_false, operand = lines[at]
        at += 1
        if operation == 0x20:
            (value,) = struct.unpack_from("=I", data, operand)
        elif operation == 0x15:
            at += if_true if value == operand else if_false
        else:
            assert operation == 0x06
            return int(operand)


ALL = filters.CAUGHT + filters.RENAMES


@pytest.mark.parametrize("names", [filters.CAUGHT, ALL], ids=["plain", "durable"])
@pytest.mark.parametrize("arch", calls.NUMBERS, ids=hex)
def test_our_calls_are_notified_and_all_others_allowed(arch: int, names: tuple[str, ...]) -> None:
    code = filters.program(names)
    caught = {calls.NUMBERS[arch][name] for name in names if name in calls.NUMBERS[arch]}
    assert len(caught) >= 3
    for number in range(600):
        expected = filters.NOTIFY if number in caught else filters.ALLOW
        assert verdict(code, arch, number) == expected, number


def test_other_architectures_and_x32_are_allowed() -> None:
    code = filters.program(ALL)
    for number in range(500):
        assert verdict(code, 0x40000028, number) == filters.ALLOW  # 32-bit ARM
        assert verdict(code, calls.X86_64, number | 0x40000000) == filters.ALLOW  # x32


def test_decoding() -> None:
    fdcwd = 0xFFFFFF9C  # as i386 hands it over
    link = calls.decode(calls.X86_64, 86, (11, 22, 0, 0, 0, 0))
    linkat = calls.decode(calls.I386, 303, (fdcwd, 11, 7, 22, 0x400, 0))
    unlinkat = calls.decode(calls.AARCH64, 35, (1 << 64 - 1 | fdcwd, 11, 0x200, 0, 0, 0))
    assert link is not None
    assert linkat is not None
    assert unlinkat is not None
    assert (link.kind, link.paths, link.flags) == (calls.LINK, [(-100, 11), (-100, 22)], 0)
    assert (linkat.kind, linkat.paths, linkat.flags) == (calls.LINK, [(-100, 11), (7, 22)], 0x400)
    assert (unlinkat.kind, unlinkat.paths, unlinkat.flags) == (calls.UNLINK, [(-100, 11)], 0x200)
    assert calls.decode(calls.X86_64, 0, (0,) * 6) is None
    assert calls.decode(0x40000028, 86, (0,) * 6) is None


def test_numbers_are_those_of_this_machines_headers() -> None:
    """The compiler's own table, where there is one."""
    import shutil
    import subprocess

    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    for arch, flags, marks in ((calls.X86_64, [], ["__x86_64__"]), (calls.I386, ["-m32"], [])):
        done = subprocess.run(
            ["gcc", *flags, "-E", "-dM", "-include", "asm/unistd.h", "-x", "c", "/dev/null"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode or any(mark not in done.stdout for mark in marks):
            continue
        for name, number in calls.NUMBERS[arch].items():
            if name != "landlock_restrict_self" or f"__NR_{name} " in done.stdout:
                assert f"#define __NR_{name} {number}\n" in done.stdout
