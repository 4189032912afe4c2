"""Slots of an arena: never two at one place, never one rewritten while it is out."""

from __future__ import annotations

import gc
import mmap
import os
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from polystore.errors import NoSharedMemoryError, TornPayloadError
from polystore.payload import shm
from polystore.payload.arena import MAGIC, PAGE, SLOT_OFFSET, Arena, MappedArena, arena_size

U8 = np.dtype(np.uint8)
MIB = 1 << 20


def capacity(nbytes: int) -> int:
    return -(-(nbytes + SLOT_OFFSET) // PAGE) * PAGE


def fill(arena: Arena, base: int, nbytes: int, value: int) -> int:
    generation = arena.stamp(base, nbytes)
    arena.view(base, (nbytes,), U8)[:] = value
    return generation


# --------------------------------------------------------------------------- allocation


def test_the_slot_given_back_last_comes_first() -> None:
    arena = Arena(MIB)
    arena.offered()
    first, second, third = (arena.allocate(10_000) for _ in range(3))
    assert None not in (first, second, third)
    arena.free(first)
    arena.free(third)
    arena.free(second)
    assert [arena.allocate(10_000) for _ in range(3)] == [second, third, first]


def test_a_full_arena_says_so_and_takes_again_what_is_freed() -> None:
    arena = Arena(16 * PAGE)
    arena.offered()
    bases = [arena.allocate(PAGE) for _ in range(8)]  # two pages each
    assert len(set(bases)) == 8
    assert arena.allocate(1) is None
    arena.free(bases[3])
    assert arena.allocate(PAGE) == bases[3]


def test_what_fits_an_empty_arena_fits_again_after_any_other_size() -> None:
    arena = Arena(64 * PAGE)
    arena.offered()
    whole = 64 * PAGE - SLOT_OFFSET
    assert arena.fits(whole)
    assert not arena.fits(whole + 1)
    for nbytes in (100, 3 * PAGE, whole, 5 * PAGE, 1, whole):
        bases = []
        while (base := arena.allocate(nbytes)) is not None:
            bases.append(base)
        assert len(bases) == 64 * PAGE // capacity(nbytes)
        for base in bases:
            arena.free(base)
    assert arena.used == 0


def test_neighbours_are_joined_when_images_become_larger() -> None:
    arena = Arena(32 * PAGE)
    arena.offered()
    small = [arena.allocate(PAGE) for _ in range(16)]
    for base in small[4:8]:
        arena.free(base)
    assert arena.allocate(8 * PAGE - SLOT_OFFSET) == small[4]
    assert arena.allocate(1) is None
    # A larger run is cut, and its rest is used.
    for base in small[8:12]:
        arena.free(base)
    assert arena.allocate(2 * PAGE) == small[8]
    assert arena.allocate(PAGE) is not None


def test_an_abandoned_slot_comes_back_at_the_next_allocation() -> None:
    arena = Arena(4 * PAGE)
    arena.offered()
    base = arena.allocate(4 * PAGE - SLOT_OFFSET)
    assert base is not None
    arena.abandon(base)
    assert arena.allocate(1) == 0


@pytest.mark.parametrize("shape, dtype", [((3, 5), "<u2"), ((), "<f8"), ((4,), ">c16"), ((2, 0), "|b1")])
def test_a_view_is_the_slots_memory_in_any_shape(shape: tuple[int, ...], dtype: str) -> None:
    arena = Arena(4 * PAGE)
    mapped = MappedArena(arena.name, arena.size, arena.nonce)
    kind = np.dtype(dtype)
    source = np.arange(1, int(np.prod(shape)) + 1).reshape(shape).astype(kind)
    base = arena.allocate(source.nbytes)
    assert base is not None
    generation = arena.stamp(base, source.nbytes)
    arena.view(base, shape, kind)[...] = source
    seen = mapped.view(base, generation, shape, kind, source.nbytes)
    assert seen.dtype == kind
    assert np.array_equal(seen, source)
    assert not seen.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        seen[...] = 0
    assert seen.__array_interface__["data"][0] % 64 == 0 or not seen.nbytes


# --------------------------------------------------------------------------- generations and the other side


def test_a_slot_that_was_given_out_again_is_torn_for_who_still_reads_it() -> None:
    arena = Arena(4 * PAGE)
    mapped = MappedArena(arena.name, arena.size, arena.nonce)
    base = arena.allocate(1000)
    assert base is not None
    old = fill(arena, base, 1000, 1)
    assert mapped.view(base, old, (1000,), U8, 1000).max() == 1
    assert mapped.intact(base, old)
    arena.free(base)
    assert mapped.intact(base, old)  # free, but not written yet
    assert arena.allocate(1000) == base
    new = fill(arena, base, 1000, 2)
    assert new != old
    assert not mapped.intact(base, old)
    with pytest.raises(TornPayloadError, match=f"no longer holds generation {old}"):
        mapped.view(base, old, (1000,), U8, 1000)


def test_a_generation_is_never_used_twice_also_when_slots_are_joined_and_cut() -> None:
    arena = Arena(8 * PAGE)
    arena.offered()
    seen: dict[int, int] = {}
    for nbytes in (100, 3 * PAGE, 100, 7 * PAGE, 100, PAGE) * 5:
        base = arena.allocate(nbytes)
        assert base is not None
        generation = arena.stamp(base, nbytes)
        assert generation > seen.get(base, 0)
        seen[base] = generation
        arena.free(base)


def test_generations_begin_anew_after_their_largest() -> None:
    arena = Arena(4 * PAGE)
    mapped = MappedArena(arena.name, arena.size, arena.nonce)
    base = arena.allocate(10)
    assert base is not None
    arena._generation[base] = 0xFFFFFFFF
    assert arena.stamp(base, 10) == 0
    assert mapped.intact(base, 0)


@pytest.mark.parametrize("base", [-PAGE, 1, PAGE + 64, 4 * PAGE, 2**62])
def test_a_slot_outside_or_between_pages_is_refused(base: int) -> None:
    arena = Arena(4 * PAGE)
    mapped = MappedArena(arena.name, arena.size, arena.nonce)
    with pytest.raises(TornPayloadError):
        mapped.view(base, 0, (1,), U8, 1)


def test_more_bytes_than_the_slot_holds_are_refused() -> None:
    arena = Arena(4 * PAGE)
    mapped = MappedArena(arena.name, arena.size, arena.nonce)
    base = arena.allocate(100)
    assert base is not None
    generation = fill(arena, base, 100, 1)
    with pytest.raises(TornPayloadError):
        mapped.view(base, generation, (101,), U8, 101)
    with pytest.raises(TornPayloadError, match="outside"):
        mapped.view(base, generation, (4 * PAGE,), U8, 4 * PAGE)


def test_the_layout_is_the_one_in_the_protocol() -> None:
    arena = Arena(4 * PAGE)
    path = os.path.join(shm.SHM_DIR, arena.name)
    base = arena.allocate(6)
    assert base == 0
    assert arena.stamp(base, 6) == 1
    arena.view(base, (6,), U8)[:] = range(6)
    with open(path, "rb") as file:
        data = file.read()
    arena.offered()
    assert len(data) == 4 * PAGE
    assert data[:16] == arena.nonce
    assert data[SLOT_OFFSET - 64 : SLOT_OFFSET - 48] == bytes.fromhex("796c6f70 01000000 0600000000000000")
    assert MAGIC.to_bytes(4, "little") == b"ylop"
    assert data[SLOT_OFFSET : SLOT_OFFSET + 6] == bytes(range(6))


# --------------------------------------------------------------------------- names


def test_the_name_goes_with_the_first_mapping_and_the_memory_stays() -> None:
    arena = Arena(4 * PAGE)
    assert arena.name in os.listdir(shm.SHM_DIR)
    mapped = MappedArena(arena.name, arena.size, arena.nonce)
    assert arena.name not in os.listdir(shm.SHM_DIR)
    arena.offered()  # both may
    base = arena.allocate(1000)
    assert base is not None
    view = mapped.view(base, fill(arena, base, 1000, 7), (1000,), U8, 1000)
    del arena, mapped
    gc.collect()
    assert view.min() == 7


def test_no_descriptor_stays_open() -> None:
    before = len(os.listdir("/proc/self/fd"))
    arena = Arena(4 * PAGE)
    mapped = MappedArena(arena.name, arena.size, arena.nonce)
    # Python's mmap keeps a duplicate of its own; two mappings, two duplicates at most.
    assert len(os.listdir("/proc/self/fd")) <= before + 2
    del arena, mapped
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == before


def test_another_arena_of_the_same_name_is_refused_and_left_alone() -> None:
    arena = Arena(4 * PAGE)
    try:
        with pytest.raises(NoSharedMemoryError, match="another arena"):
            MappedArena(arena.name, arena.size, bytes(16))
        with pytest.raises(NoSharedMemoryError, match="not what was offered"):
            MappedArena(arena.name, 8 * PAGE, arena.nonce)
        assert arena.name in os.listdir(shm.SHM_DIR)
    finally:
        arena.offered()


@pytest.mark.parametrize("size, nonce", [(0, bytes(16)), (-1, bytes(16)), (PAGE, b""), (PAGE, bytes(17))])
def test_an_offer_that_can_be_none_is_refused(size: int, nonce: bytes) -> None:
    with pytest.raises(NoSharedMemoryError, match="is none"):
        MappedArena("polystore-1-1-1", size, nonce)


def test_the_size_is_what_is_wanted_or_a_fourth_of_what_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    free = 64 * MIB
    monkeypatch.setattr(shm, "free_bytes", lambda: free)
    assert arena_size(8 * MIB) == 8 * MIB
    assert arena_size(64 * MIB) == 16 * MIB
    assert arena_size(0) == 0
    assert arena_size(3 * PAGE + 1) == 3 * PAGE
    free = 3 * MIB
    assert arena_size(64 * MIB) == 0  # under a megabyte message frames serve better
    free = 0
    assert arena_size(64 * MIB) == 0
    free = 64 * MIB
    monkeypatch.setattr(shm, "available", lambda: False)
    assert arena_size(64 * MIB) == 0


def test_a_mapping_that_fails_leaves_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(mmap, "mmap", fail)
    with pytest.raises(NoSharedMemoryError, match="cannot map"):
        Arena(4 * PAGE)
    assert [name for name, _, _ in shm.names() if f"-{os.getpid()}-" in name] == []


# --------------------------------------------------------------------------- any order of everything


class ArenaMachine(RuleBasedStateMachine):
    """Allocations of mixed sizes in any order, each filled with a value of its own and looked at after every step."""

    def __init__(self) -> None:
        super().__init__()
        self.arena = Arena(48 * PAGE)
        self.mapped = MappedArena(self.arena.name, self.arena.size, self.arena.nonce)
        self.live: dict[int, tuple[int, int, int]] = {}
        self.old: list[tuple[int, int, int]] = []
        self.value = 0

    @rule(pages=st.integers(0, 20), extra=st.integers(1, PAGE))
    def allocate(self, pages: int, extra: int) -> None:
        nbytes = pages * PAGE + extra
        base = self.arena.allocate(nbytes)
        if base is None:
            # Never because of fragments between slots that are free: then there really is no run that long.
            taken = sorted((start, start + capacity(size)) for start, (size, _, _) in self.live.items())
            gaps = []
            at = 0
            for start, end in [*taken, (self.arena.size, 0)]:
                gaps.append(start - at)
                at = end
            assert max(gaps) < capacity(nbytes)
            return
        assert base not in self.live
        self.value = (self.value + 1) % 251
        self.live[base] = (nbytes, fill(self.arena, base, nbytes, self.value), self.value)

    @precondition(lambda self: self.live)
    @rule(data=st.data(), way=st.sampled_from(["free", "abandon"]))
    def give_back(self, data: st.DataObject, way: str) -> None:
        base = data.draw(st.sampled_from(sorted(self.live)))
        nbytes, generation, _ = self.live.pop(base)
        self.old.append((base, nbytes, generation))
        getattr(self.arena, way)(base)

    @invariant()
    def no_two_slots_overlap(self) -> None:
        at = 0
        for base in sorted(self.live):
            assert base >= at
            assert base % PAGE == 0
            at = base + capacity(self.live[base][0])
        assert at <= self.arena.size

    @invariant()
    def every_slot_still_holds_its_own(self) -> None:
        for base, (nbytes, generation, value) in self.live.items():
            seen = self.mapped.view(base, generation, (nbytes,), U8, nbytes)
            assert seen.min() == seen.max() == value
            assert self.mapped.intact(base, generation)

    @invariant()
    def the_nonce_is_untouched(self) -> None:
        assert self.arena._map[:16] == self.arena.nonce

    @invariant()
    def what_is_used_is_counted(self) -> None:
        assert self.arena.used == len(self.live) + len(self.arena._orphans)

    @invariant()
    def a_slot_that_holds_another_image_is_never_taken_for_the_old_one(self) -> None:
        for base, nbytes, generation in self.old[-5:]:
            now = self.live.get(base)
            if now is not None:
                with pytest.raises(TornPayloadError):
                    self.mapped.view(base, generation, (nbytes,), U8, nbytes)


TestAnyOrder = ArenaMachine.TestCase
TestAnyOrder.settings = settings(
    max_examples=60, stateful_step_count=60, deadline=None, suppress_health_check=list(HealthCheck)
)
