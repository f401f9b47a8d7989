"""Blocks of byte strings: what goes in comes out, and a damaged block is found."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from itron_core import StoreError
from itron_core.stores.byte_strings import packed, unpacked


@pytest.mark.slow
@given(st.lists(st.binary(max_size=300), max_size=50))
def test_packed_byte_strings_unpack_unchanged(parts):
    assert unpacked(packed(parts)) == parts


def test_a_block_has_the_described_form():
    assert packed([b"ab", b"", b"c"]) == bytes.fromhex("00000003 00000002 00000000 00000001") + b"abc"


@pytest.mark.parametrize("cut", range(19))
def test_a_block_that_was_cut_is_found(cut):
    with pytest.raises(StoreError, match="damaged"):
        unpacked(packed([b"ab", b"", b"c"])[:cut])


@pytest.mark.parametrize("block", [b"\xff" * 19, packed([b"ab"]) + b"c", b"\0\0\0\1\xff\xff\xff\xffab"])
def test_a_block_of_wrong_lengths_is_found(block):
    with pytest.raises(StoreError, match="damaged"):
        unpacked(block)
