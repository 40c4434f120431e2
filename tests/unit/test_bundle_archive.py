"""A bundle file that was changed, cut or made up is refused with a sentence, whatever was done to it."""

from __future__ import annotations

import hashlib
import io
import json
import stat
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from recsys_core.errors import BadInput
from recsys_core.portable.archive import ALIGNMENT, CHECKSUM, FORMAT, MANIFEST, Archive, _store, write_archive

WEIGHTS = np.arange(24, dtype=np.float32).reshape(4, 6)
MEMBERS = {"weights.npy": WEIGHTS, "codes.npy": np.array([3, 1, 2], np.int32), "items.json": b'["a", "b"]'}


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    path = tmp_path / "bundle.zip"
    write_archive(path, {"kind": "test", "licence": "whoever may"}, MEMBERS)
    return path


def _content(archive: Archive) -> tuple:
    """All that a reader gets of it."""
    members = {name: archive.read(name) for name in archive.manifest["members"]}
    return archive.manifest, archive.fingerprint, members, archive.array("weights").tobytes()


def _remade(path: Path, change) -> Path:
    """The same file with other members: change({name: content}) -> {name: content}, stored as bundles store them."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, content in change(members).items():
            _store(archive, name, content)
    return path


def _signed(found: dict[str, bytes], **changes) -> dict[str, bytes]:
    """With other words in the manifest, and a checksum that fits them: what somebody who knows the format would do."""
    manifest = json.loads(found[MANIFEST]) | changes
    text = json.dumps(manifest).encode()
    return found | {MANIFEST: text, CHECKSUM: hashlib.sha256(text).hexdigest().encode()}


def test_it_comes_back_as_it_was_written_and_the_same_gives_the_same_file(whole: Path, tmp_path: Path) -> None:
    archive = Archive.open(whole)
    assert np.array_equal(archive.array("weights"), WEIGHTS) and archive.array("codes").tolist() == [3, 1, 2]
    assert archive.json("items.json") == ["a", "b"] and "weights.npy" in archive and archive.size_bytes == whole.stat().st_size
    assert not archive.array("weights").flags.writeable, "what is mapped is not written into"
    again = tmp_path / "again.zip"
    assert write_archive(again, {"kind": "test", "licence": "whoever may"}, MEMBERS) == archive.fingerprint
    assert again.read_bytes() == whole.read_bytes() and {path.name for path in tmp_path.iterdir()} == {"bundle.zip", "again.zip"}
    with zipfile.ZipFile(whole) as listed:
        assert listed.testzip() is None, "any other program reads it too"
    for offset, _ in archive._places.values():
        assert offset % ALIGNMENT == 0


def test_a_changed_byte_is_found_wherever_it_is(whole: Path) -> None:
    """In whatever is read: refused. In what nobody reads (dates and padding of the zip): what is read stays the same, byte by byte."""
    good = whole.read_bytes()
    archive = Archive.open(whole)
    wanted = _content(archive)
    inside = np.zeros(len(good), bool)
    for offset, size in archive._places.values():
        inside[offset : offset + size] = True
    refused = 0
    for place in range(len(good)):
        for mask in (0x01, 0x80, 0xFF) if not inside[place] else (0x10,):
            whole.write_bytes(good[:place] + bytes([good[place] ^ mask]) + good[place + 1 :])
            try:
                opened = Archive.open(whole)
            except BadInput as error:
                assert error.message.endswith(".") and error.hint, "a sentence and what to do"
                refused += 1
                continue
            assert not inside[place], f"byte {place} is content and was changed unseen"
            assert _content(opened) == wanted, f"byte {place} changed what is read"
    assert refused >= inside.sum()


def test_a_file_that_is_cut_short_is_refused(whole: Path) -> None:
    good = whole.read_bytes()
    for length in (0, 1, 21, 22, 100, len(good) // 2, len(good) - 30, len(good) - 1):
        whole.write_bytes(good[:length])
        with pytest.raises(BadInput, match=r"bundle\.zip' is (not a bundle|a zip file but no bundle)"):
            Archive.open(whole)


def test_no_file_a_folder_and_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="There is no file"):
        Archive.open(tmp_path / "nowhere.zip")
    (tmp_path / "text.zip").write_text("user,item\n1,2\n")
    with pytest.raises(BadInput, match="not a bundle, or it is damaged"):
        Archive.open(tmp_path / "text.zip")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as other:
        other.writestr("readme.txt", "hello")
    with pytest.raises(BadInput, match=r"no bundle: it has no manifest\.json"):
        Archive.open(tmp_path / "other.zip")
    with pytest.raises(BadInput):
        Archive.open(tmp_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m: m | {"extra.npy": b"more"}, "does not hold what its manifest names"),
        (lambda m: {name: content for name, content in m.items() if name != "codes.npy"}, "does not hold what its manifest names"),
        (lambda m: m | {"weights.npy": m["codes.npy"], "codes.npy": m["weights.npy"]}, "checksum of 'weights.npy' is wrong"),
        (lambda m: m | {"items.json": b'["b", "a"]'}, "checksum of 'items.json' is wrong"),
        (lambda m: m | {CHECKSUM: b"0" * 64}, "does not match its checksum"),
        (lambda m: m | {MANIFEST: m[MANIFEST].replace(b"whoever may", b"nobody may ")}, "does not match its checksum"),
        (lambda m: {name: content for name, content in m.items() if name != CHECKSUM}, "no bundle"),
        (lambda m: _signed(m, format=FORMAT + 1), "has format 2; this version reads up to 1"),
        (lambda m: _signed(m, format="one"), "manifest that cannot be read"),
        (lambda m: _signed(m, members=[1]), "manifest that cannot be read"),
        (lambda m: _signed(m, format=float("inf")), "manifest that cannot be read"),
        (lambda m: _signed(m, members=dict.fromkeys(MEMBERS, {"sha256": "\ud800"})), "manifest that cannot be read"),
        (lambda m: _signed(m, members=dict.fromkeys(MEMBERS, {})), "manifest that cannot be read"),
        (lambda m: m | {MANIFEST: b"[", CHECKSUM: hashlib.sha256(b"[").hexdigest().encode()}, "manifest that cannot be read"),
        (lambda m: m | {MANIFEST: b"[]", CHECKSUM: hashlib.sha256(b"[]").hexdigest().encode()}, "manifest that cannot be read"),
    ],
)
def test_members_that_are_not_what_the_manifest_says_are_refused(whole: Path, change, said: str) -> None:
    _remade(whole, change)
    with pytest.raises(BadInput, match=said):
        Archive.open(whole)


def test_who_makes_a_new_checksum_too_is_found_by_the_fingerprint(whole: Path) -> None:
    known = Archive.open(whole).fingerprint
    assert Archive.open(whole, fingerprint=known.upper()).fingerprint == known
    _remade(whole, lambda members: _signed(members, licence="do as you like"))
    assert Archive.open(whole).manifest["licence"] == "do as you like", "a checksum alone proves no origin"
    with pytest.raises(BadInput, match="not the bundle that was asked for"):
        Archive.open(whole, fingerprint=known)


def test_compressed_and_repeated_members_are_refused(whole: Path) -> None:
    """A megabyte of zeros in a kilobyte would grow in memory; of two members of one name the wrong one might be read."""
    good = whole.read_bytes()
    with zipfile.ZipFile(whole, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.npy", bytes(10**6))
    with pytest.raises(BadInput, match=r"'bomb\.npy' is compressed"):
        Archive.open(whole)
    whole.write_bytes(good)
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(whole, "a") as archive:
        archive.writestr("items.json", b'["x", "y"]')
    with pytest.raises(BadInput, match="there twice"):
        Archive.open(whole)


@pytest.mark.parametrize("name", ["../outside.npy", "/etc/passwd", "C:\\x.npy", "a/../../b.npy", "a//b.npy", "./a.npy"])
def test_names_that_lead_elsewhere_touch_nothing(whole: Path, tmp_path: Path, name: str) -> None:
    """Members are never unpacked: a name is a key and no path. It is refused all the same, also where the manifest names it."""
    before = sorted(tmp_path.rglob("*"))
    _remade(whole, lambda members: _with(members, name, b"evil"))
    with pytest.raises(BadInput, match="has a name that leads out of the bundle"):
        Archive.open(whole)
    assert sorted(tmp_path.rglob("*")) == before


def _with(members: dict[str, bytes], name: str, content: bytes) -> dict[str, bytes]:
    """One member more, which the manifest names as it should."""
    about = json.loads(members[MANIFEST])["members"] | {name: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}}
    return _signed(members | {name: content}, members=about)


def _patched(path: Path, name: str, field: int, value: int, size: str) -> None:
    """Another number in the directory's entry of a member, so many bytes after its beginning."""
    raw = bytearray(path.read_bytes())
    struct.pack_into(size, raw, raw.index(name.encode(), raw.index(b"PK\x01\x02")) - 46 + field, value)
    path.write_bytes(raw)


def test_links_folders_and_encrypted_members_are_refused(whole: Path) -> None:
    good = whole.read_bytes()
    for field, value, size, said in (
        (38, (stat.S_IFLNK | 0o777) << 16, "<I", "is a link or a folder"),
        (38, (stat.S_IFDIR | 0o755) << 16, "<I", "is a link or a folder"),
        (38, (stat.S_IFIFO | 0o644) << 16, "<I", "is a link or a folder"),
        (8, 1, "<H", "is encrypted"),
    ):
        whole.write_bytes(good)
        _patched(whole, "items.json", field, value, size)
        with pytest.raises(BadInput, match=f"'items.json' {said}"):
            Archive.open(whole)
    whole.write_bytes(good)
    _remade(whole, lambda members: _with(members, "folder/", b""))
    with pytest.raises(BadInput, match="'folder/' is a link or a folder"):
        Archive.open(whole)


def test_members_inside_each_other_are_refused(whole: Path) -> None:
    """Ten thousand names for one gigabyte: all checksums right, and hours until that is known."""
    inner = b"PK\x03\x04" + struct.pack("<HHHHHIIIHH", 20, 0, 0, 0, 0, 0, 4, 4, 9, 0) + b"inner.npy" + b"evil"
    _remade(whole, lambda members: _with(_with(members, "inner.npy", b"evil"), "outer.npy", inner))
    Archive.open(whole)
    _patched(whole, "inner.npy", 42, whole.read_bytes().index(inner), "<I")
    with pytest.raises(BadInput, match=r"'inner\.npy' lies inside another member"):
        Archive.open(whole)


def test_sizes_that_lie_are_refused(whole: Path) -> None:
    """The directory of a zip may claim any size: a member that would reach beyond the file is cut short, and so is one inside another."""
    good = whole.read_bytes()
    place = good.index(b"PK\x01\x02")
    for size in (2**31, len(good) + 1, 10):
        whole.write_bytes(good[: place + 20] + struct.pack("<II", size, size) + good[place + 28 :])
        with pytest.raises(BadInput):
            Archive.open(whole)


def test_arrays_of_objects_are_refused(tmp_path: Path) -> None:
    out = io.BytesIO()
    np.lib.format.write_array(out, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    path = tmp_path / "objects.zip"
    write_archive(path, {}, {"codes.npy": out.getvalue()})
    with pytest.raises(BadInput, match="holds objects"):
        Archive.open(path).array("codes")


def test_headers_that_ask_for_more_than_there_is_are_refused(tmp_path: Path) -> None:
    out = io.BytesIO()
    np.lib.format.write_array(out, np.zeros(4, np.float32))
    path = tmp_path / "long.zip"
    write_archive(path, {}, {"codes.npy": out.getvalue().replace(b"(4,)", b"(9,)"), "other.npy": np.zeros(64)})
    with pytest.raises(BadInput, match="codes"):
        Archive.open(path).array("codes")


def test_what_failed_to_be_written_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        write_archive(tmp_path / "bundle.zip", {"ndcg": float("nan")}, MEMBERS)
    assert list(tmp_path.iterdir()) == []
