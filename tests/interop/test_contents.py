"""Tests of files that are no weights, by their content and not by their name; and of networks in several files."""

import gzip
import io
import json
import os
import pickle
import struct
import tarfile
import zipfile

import numpy as np
import pytest

from se_numpy import interop
from se_numpy.cli import main
from se_numpy.interop import contents

pytest.importorskip("safetensors")
ENDINGS = (".pth", ".pt", ".pth.tar", ".pkl", ".ckpt", ".bin", ".PTH", ".model", ".safetensors", ".npz", ".txt", "")
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1\nsize 102\n"


def archive(members):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        for name, content in members.items():
            made.writestr(name, content)
    return file.getvalue()


def tar(content):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as made:
        member = tarfile.TarInfo("storages")
        member.size = len(content)
        made.addfile(member, io.BytesIO(content))
    return file.getvalue()


class Malicious:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


OTHERS = {
    "empty": (b"", r"is empty \(0 bytes\); download it again"),
    "LFS": (LFS, "is a Git LFS pointer, .* `git lfs pull`"),
    "HTML": (b"\n <!DOCTYPE html>\n<html><head><title>404</title>", "is an HTML or XML page"),
    "HTML, marked": (b"\xef\xbb\xbf<HTML lang=en>", "is an HTML or XML page"),
    "XML": (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "is an HTML or XML page"),
    "text": (b"Entry not found", "a text that begins with 'Entry not found'"),
    "UTF-16": ("Nicht gefunden".encode("utf-16"), "a text that begins with 'Nicht gefunden'"),
    "long text": (("ä" * 9000).encode(), "a text that begins with 'ää"),
    "JSON": (b'{"error": "Repository not found"}', "is a JSON file without weights"),
    "JSON, cut": (b'{"weight_map": {"a"', "is JSON that ends early"),
    "gzip": (gzip.compress(b"x"), "is compressed with gzip; decompress it first"),
    "tar": (tar(b"x"), "is a tar archive; unpack it first"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(99), "is an HDF5 file, as Keras writes"),
    "PNG": (b"\x89PNG\r\n\x1a\n" + bytes(99), "is a PNG image"),
    "npy": (b"\x93NUMPY\x01\x00" + bytes(99), "is a .npy file, a single array without a name"),
    "pickle": (pickle.dumps({"fc.weight": [1.0]}), "is a plain Python pickle, which can execute code and is not read"),
    "zip": (archive({"resnet/weights.pth": b"x"}), "a zip archive of other files, such as resnet/weights.pth"),
    "zip, cut": (archive({"a.npy": bytes(999)})[:500], "its end is missing; download it again"),
    "TorchScript": (archive({"a/data.pkl": b"", "a/constants.pkl": b""}), "a TorchScript program"),
    "bytes": (b"\x00\x01\x02\x1b[2J\xff" * 9, "damaged or not a weights file .*begins with the bytes 00 01 02"),
    "header, cut": (struct.pack("<Q", 10**6) + b'{"a"', "should have 1,000,000 bytes, but the file ends after 12"),
}  # fmt: skip


@pytest.mark.parametrize("ending", [".pth.tar", ".safetensors", ""])
@pytest.mark.parametrize("kind", OTHERS)
def test_other_files_are_named_by_their_content(tmp_path, capsys, kind, ending):
    content, words = OTHERS[kind]
    path = tmp_path / f"weights{ending}"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=words) as caught:
        interop.read(path)
    assert str(caught.value).startswith(str(path))
    assert str(caught.value).isprintable()
    assert interop.read_metadata(path) == {}
    assert main(["weights", str(path), "--model", "se_resnet8"]) == 2
    assert str(caught.value) in capsys.readouterr().err


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("kind", [".safetensors", ".npz"])
def test_the_ending_does_not_matter(tmp_path, kind, ending):
    interop.write(tmp_path / f"a{kind}", {"fc.weight": np.ones((2, 3))}, {"model": "x"})
    (tmp_path / f"a{kind}").rename(tmp_path / f"b{ending}")
    assert set(interop.read(tmp_path / f"b{ending}")) == {"fc.weight"}
    assert interop.read_metadata(tmp_path / f"b{ending}") == {"model": "x"}


def test_a_text_with_terminal_escapes_is_not_a_text(tmp_path, capsys):
    (tmp_path / "x.pt").write_bytes(b"\x1b[2J\x1b[31mred")
    assert main(["weights", str(tmp_path / "x.pt"), "--model", "se_resnet8"]) == 2
    assert "\x1b" not in capsys.readouterr().err


def test_a_malicious_plain_pickle_is_not_executed(tmp_path):
    for protocol in range(6):
        (tmp_path / "x.pkl").write_bytes(pickle.dumps(Malicious(tmp_path / "executed"), protocol))
        with pytest.raises(ValueError, match=r"x\.pkl"):
            interop.read(tmp_path / "x.pkl")
    assert not (tmp_path / "executed").exists()


def test_a_large_file_is_answered_by_its_names(tmp_path, capsys):
    """The file is a hole of 20 GB. None of its values are read, and no batch size is advised."""
    values = 5 * 10**9
    header = json.dumps({"blocks.0.w": {"dtype": "F32", "shape": [values], "data_offsets": [0, 4 * values]}}).encode()
    path = tmp_path / "x.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    try:
        os.truncate(path, 8 + len(header) + 4 * values)
    except OSError:
        pytest.skip("no sparse files here")
    assert main(["weights", str(path), "--model", "se_resnet50"]) == 2
    err = capsys.readouterr().err
    assert "match no known scheme" in err
    assert "batch" not in err


@pytest.mark.parametrize("kind", [".npz", ".safetensors"])
def test_a_file_larger_than_the_memory(tmp_path, capsys, monkeypatch, kind):
    interop.write(tmp_path / f"x{kind}", {"fc.weight": np.ones(10**5, np.float16)})
    monkeypatch.setattr(contents, "_memory", lambda: 10**5)
    assert main(["weights", str(tmp_path / f"x{kind}"), "--model", "se_resnet50"]) == 2
    assert "GB of values, and this machine has 0.0 GB of memory" in capsys.readouterr().err


def test_running_out_of_memory_advises_a_batch_size_only_where_there_is_one(tmp_path, capsys, monkeypatch):
    def full(*args, **kwargs):
        raise MemoryError("Unable to allocate 20 GB")

    interop.write(tmp_path / "x.npz", {"fc.weight": np.ones(3)})
    monkeypatch.setattr("se_numpy.interop.files._read_npz", full)
    assert main(["weights", str(tmp_path / "x.npz"), "--model", "se_resnet50"]) == 2
    assert capsys.readouterr().err == (
        "se-numpy: not enough memory (Unable to allocate 20 GB); close other programs, or use a machine with more memory\n"
    )


# ------------------------------------------------------------------------------------------------------------- formats


def safetensors_file(path, tensors, metadata=None):
    """Write the given (dtype, shape, bytes) by name."""
    header, data = {"__metadata__": metadata} if metadata else {}, b""
    for name, (dtype, shape, content) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def test_every_byte_of_float8(tmp_path):
    torch = pytest.importorskip("torch")
    codes = bytes(range(256))
    tensors = {"a.e4": ("F8_E4M3", [256], codes), "a.e5": ("F8_E5M2", [16, 16], codes)}
    found = interop.read(safetensors_file(tmp_path / "x", tensors))
    raw = torch.frombuffer(bytearray(codes), dtype=torch.uint8)
    np.testing.assert_array_equal(found["a.e4"], raw.view(torch.float8_e4m3fn).float().numpy())
    np.testing.assert_array_equal(found["a.e5"].ravel(), raw.view(torch.float8_e5m2).float().numpy())
    with pytest.raises(ValueError, match="'a' has type F4; expected one of F64"):
        interop.read(safetensors_file(tmp_path / "x", {"a": ("F4", [2], b"x")}))


def test_tied_tensors_of_safetensors(tmp_path):
    """safetensors stores one of them, and that the other is the same."""
    one = {"a.weight": ("F32", [1], np.float32(3).tobytes())}
    found = interop.read(safetensors_file(tmp_path / "x", one, {"b.weight": "a.weight", "format": "pt"}))
    assert {name: a.tolist() for name, a in found.items()} == {"a.weight": [3], "b.weight": [3]}


def test_values_that_are_not_aligned(tmp_path):
    tensors = {
        "a.n": ("U8", [1], b"x"),
        "a.x": ("F64", [1], np.float64(3).tobytes()),
        "a.y": ("BF16", [1], b"\x80\x3f"),
    }
    found = interop.read(safetensors_file(tmp_path / "x", tensors))
    assert (found["a.x"][0], found["a.y"][0]) == (3, 1)


def test_an_array_that_occurs_twice(tmp_path):
    file = io.BytesIO()
    np.save(file, np.array([1.0]))
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as made:
        made.writestr("fc.weight.npy", file.getvalue())
        with pytest.warns(UserWarning, match="Duplicate"):
            made.writestr("fc.weight.npy", file.getvalue())
    with pytest.raises(ValueError, match=r"contains 'fc\.weight' twice"):
        interop.read(tmp_path / "x.npz")


# -------------------------------------------------------------------------------------------------------------- shards


def sharded(folder, kind=".safetensors"):
    """Write a network in three files and their index; return the index and the arrays."""
    arrays = {f"layer1.{i}.weight": np.full((2, 2), float(i)) for i in range(6)}
    places = {name: f"model-0000{1 + i // 2}-of-00003{kind}" for i, name in enumerate(arrays)}
    for shard in set(places.values()):
        interop.write(folder / shard, {name: arrays[name] for name, place in places.items() if place == shard})
    index = folder / f"model{kind}.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 192}, "weight_map": places}))
    return index, arrays


@pytest.mark.parametrize("kind", [".safetensors", ".npz"])
def test_an_index_is_loaded_whole(tmp_path, kind):
    index, arrays = sharded(tmp_path, kind)
    found = interop.read(index)
    assert set(found) == set(arrays)
    assert all(np.array_equal(found[name], arrays[name]) for name in arrays)
    assert interop.read_metadata(index) == {}


def test_a_missing_shard_is_named(tmp_path):
    index, _ = sharded(tmp_path)
    (tmp_path / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(ValueError, match=r"shard model-00002-of-00003\.safetensors is missing: .*index\.json names it"):
        interop.read(index)


def test_a_shard_alone_is_recognised(tmp_path):
    index, _ = sharded(tmp_path)
    shard = tmp_path / "model-00002-of-00003.safetensors"
    with pytest.raises(
        ValueError, match=r"is shard 2 of 3 and .* part of the network; give .*/model\.safetensors\.index"
    ):
        interop.read(shard)
    index.unlink()
    with pytest.raises(ValueError, match=r"give the index \(model\.safetensors\.index\.json\) instead"):
        interop.read(shard)


@pytest.mark.parametrize("shard", ["../a.npz", "/etc/passwd", "", "..", "a\\b", 3, "x\0y"])
def test_an_index_reads_only_files_beside_it(tmp_path, shard):
    (tmp_path / "in").mkdir()
    interop.write(tmp_path / "a.npz", {"fc.weight": np.ones(2)})
    index = tmp_path / "in/x.index.json"
    index.write_text(json.dumps({"weight_map": {"fc.weight": shard}}))
    with pytest.raises(ValueError, match=r"in the folder of the index|names of files"):
        interop.read(index)


def test_a_shard_that_lacks_a_tensor_and_a_damaged_shard(tmp_path):
    index, _ = sharded(tmp_path)
    shard = tmp_path / "model-00002-of-00003.safetensors"
    interop.write(shard, {"layer1.2.weight": np.ones(2)})
    with pytest.raises(ValueError, match=r"lacks layer1\.3\.weight, which .* places there"):
        interop.read(index)
    shard.write_bytes(LFS)
    with pytest.raises(ValueError, match=r"model-00002-of-00003\.safetensors is a Git LFS pointer"):
        interop.read(index)


def test_an_index_that_names_an_index(tmp_path):
    index = tmp_path / "x.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "x.index.json"}}))
    with pytest.raises(ValueError, match=r"x\.index\.json is the index of several files"):
        interop.read(index)
