"""The Merkle tree: outside vectors, and RFC 9162's own recursions at every size around the borders of tiles."""

import base64
import json
from pathlib import Path

import pytest

from itron_core import InputError
from itron_core.audit import tree, verify_consistency, verify_inclusion
from reference.merkle import Leaves

PROBES = json.loads((Path(__file__).parents[1] / "golden" / "merkle_probes.json").read_text())

# The leaves and roots that implementations of Certificate Transparency test with (RFC 6962's tree is RFC 9162's).
LEAVES = [
    bytes.fromhex(text)
    for text in ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]

BOOK = Leaves([b"entry %d" % number for number in range(65_537)])


def subtree(level, index):
    return BOOK.mth(index << level, (index + 1) << level)


def edge_of(entries):
    edge = tree.RightEdge()
    edge.extend([tree.leaf_hash(entry) for entry in entries])
    return edge


def test_the_roots_of_certificate_transparency():
    for size, root in enumerate(ROOTS):
        assert edge_of(LEAVES[:size]).root.hex() == root
        assert Leaves(LEAVES).mth(0, size).hex() == root


def bytes_of(probe, name):
    return base64.b64decode(probe[name])


def proof_of(probe):
    return [base64.b64decode(step) for step in probe["proof"] or []]


@pytest.mark.parametrize("probe", PROBES["inclusion"], ids=lambda probe: probe["file"])
def test_inclusion_probes(probe):
    leaf, root = bytes_of(probe, "leafHash"), bytes_of(probe, "root")
    said = tree.verify_leaf(leaf, probe["leafIdx"], probe["treeSize"], root, proof_of(probe))
    assert said is not probe["wantErr"]


# Its roots are no hashes, "don't care 2"; here what is no hash is never the root of a tree.
NO_HASHES = "consistency/additional/sizes-are-equal-one-and-proof-is-empty.json"


@pytest.mark.parametrize("probe", PROBES["consistency"], ids=lambda probe: probe["file"])
def test_consistency_probes(probe):
    said = verify_consistency(
        probe["size1"], bytes_of(probe, "root1"), probe["size2"], bytes_of(probe, "root2"), proof_of(probe)
    )
    assert said is (not probe["wantErr"] and probe["file"] != NO_HASHES)


@pytest.mark.slow
def test_roots_at_every_size_however_the_tree_grew():
    leaves = [tree.leaf_hash(entry) for entry in BOOK.entries[:600]]
    one_by_one = tree.RightEdge()
    for size in range(601):
        at_once = tree.RightEdge()
        at_once.extend(leaves[:size])
        in_two = at_once.copy() if size < 300 else edge_of(BOOK.entries[:300])
        in_two.extend(leaves[in_two.size : size])
        assert one_by_one.root == at_once.root == in_two.root == BOOK.mth(0, size)
        one_by_one.extend(leaves[size : size + 1])


@pytest.mark.slow
@pytest.mark.parametrize("size", [65_535, 65_536, 65_537])
def test_roots_at_the_border_of_the_third_level(size):
    made = []
    edge = tree.RightEdge()
    edge.extend(
        [tree.leaf_hash(entry) for entry in BOOK.entries[:size]],
        lambda row, index, value: made.append((row, index, value)),
    )
    assert edge.root == BOOK.mth(0, size)
    assert len(made) == size // 256 + size // 65_536
    for row, index, value in made:
        assert value == subtree(8 * row, index)


@pytest.mark.slow
def test_a_tree_is_made_again_from_its_growing_tiles():
    for size in [*range(0, 600, 7), 255, 256, 257, 511, 512, 513, 65_535, 65_536, 65_537]:
        rows = [
            [subtree(8 * row, at) for at in range((size >> 8 * row) // 256 * 256, size >> 8 * row)] for row in range(3)
        ]
        edge = tree.RightEdge.of(size, rows)
        assert edge.root == BOOK.mth(0, size)
        edge.extend([tree.leaf_hash(b"more")])
        assert edge.root == Leaves([*BOOK.entries[:size], b"more"]).mth(0, size + 1)


def indices(size):
    return sorted({0, 1, 254, 255, 256, 257, 511, 512, size // 2, size - 2, size - 1} & set(range(size)))


@pytest.mark.slow
def test_inclusion_proofs_at_every_size():
    for size in range(1, 601):
        root = BOOK.mth(0, size)
        for index in indices(size):
            proof = tree.inclusion_proof(index, size, subtree)
            assert proof == BOOK.path(index, 0, size)
            assert verify_inclusion(BOOK.entries[index], index, size, root, proof)


def test_consistency_proofs_at_every_size():
    for size in range(1, 601):
        for old in indices(size + 1):
            proof = tree.consistency_proof(old, size, subtree)
            assert proof == (BOOK.proof(old, size) if old else [])
            assert verify_consistency(old, BOOK.mth(0, old), size, BOOK.mth(0, size), proof)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 9, 255, 256, 257, 513])
def test_proofs_of_something_else_prove_nothing(size):
    root = BOOK.mth(0, size)
    for index in indices(size):
        entry, proof = BOOK.entries[index], BOOK.path(index, 0, size)
        assert not verify_inclusion(b"another", index, size, root, proof)
        assert not verify_inclusion(entry, index, size, bytes(32), proof)
        assert not verify_inclusion(entry, index, size, root, [*proof, root])
        for other in {-1, index - 1, index + 1, size, 1 << 64} - {index}:
            assert not verify_inclusion(entry, other, size, root, proof)
        for at in range(len(proof)):
            assert not verify_inclusion(entry, index, size, root, proof[:at] + proof[at + 1 :])
            assert not verify_inclusion(entry, index, size, root, [*proof[:at], bytes(32), *proof[at + 1 :]])
    for old in indices(size):
        old_root, proof = BOOK.mth(0, old), BOOK.proof(old, size) if old else []
        assert not verify_consistency(old, bytes(32), size, root, proof)
        assert not verify_consistency(old, old_root, size, root, [*proof, root])
        assert not verify_consistency(size + 1, old_root, size, root, proof)
        for at in range(len(proof)):
            assert not verify_consistency(old, old_root, size, root, proof[:at] + proof[at + 1 :])
            assert not verify_consistency(old, old_root, size, root, [*proof[:at], bytes(32), *proof[at + 1 :]])


def test_every_tree_begins_with_the_empty_one():
    assert verify_consistency(0, BOOK.mth(0, 0), 5, BOOK.mth(0, 5), [])
    assert verify_consistency(0, BOOK.mth(0, 0), 0, BOOK.mth(0, 0), [])
    assert not verify_consistency(0, BOOK.mth(0, 5), 5, BOOK.mth(0, 5), [])
    assert not verify_consistency(0, BOOK.mth(0, 0), 0, BOOK.mth(0, 5), [])


def test_steps_that_are_no_hashes_prove_nothing():
    # The same bytes under the hash, cut at another place.
    (left, right), root = (BOOK.mth(0, 1), BOOK.mth(1, 2)), BOOK.mth(0, 2)
    assert tree.verify_leaf(right, 1, 2, root, [left])
    assert not tree.verify_leaf(right[1:], 1, 2, root, [left + right[:1]])
    assert verify_consistency(1, left, 2, root, [right])
    assert not verify_consistency(1, left + right[:1], 2, root, [right[1:]])


def test_positions_outside_the_tree_are_refused():
    for index, size in [(-1, 5), (5, 5), (0, 0)]:
        with pytest.raises(InputError):
            tree.inclusion_proof(index, size, subtree)
    for old, new in [(-1, 5), (6, 5)]:
        with pytest.raises(InputError):
            tree.consistency_proof(old, new, subtree)
