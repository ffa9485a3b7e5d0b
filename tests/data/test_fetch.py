"""Downloads against a server of our own: checksums, cut connections, resuming, mirrors, archives."""

import dataclasses
import hashlib
import http.server
import io
import tarfile
import threading
import zipfile

import numpy as np
import pytest

from batchscope.data import check, fetch
from batchscope.data.registry import FILE_SETS, Download, FileLayout, FileSet
from batchscope.errors import DataError, InputError

CONTENTS = np.random.default_rng(0).integers(0, 256, 300_007, dtype=np.uint8).tobytes()


class Server(http.server.BaseHTTPRequestHandler):
    """Serves `files` with ranges; the first `cuts` answers to a path stop half way through what they promised."""

    files: dict[str, bytes]
    cuts: dict[str, int]
    ranges: bool
    asked: list[tuple[str, str | None]]

    def do_GET(self):
        self.asked.append((self.path, self.headers["Range"]))
        if self.path not in self.files:
            self.send_error(404)
            return
        body, start = self.files[self.path], 0
        if self.ranges and self.headers["Range"]:
            start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
        if start and start >= len(body):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(body)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        rest = body[start:]
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        if self.cuts.get(self.path, 0) > 0:
            self.cuts[self.path] -= 1
            rest = rest[: len(rest) // 2]
            self.close_connection = True
        self.wfile.write(rest)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr("pooch.core.time.sleep", lambda _: None)  # pooch waits seconds between attempts
    handler = type("Handler", (Server,), {"files": {}, "cuts": {}, "ranges": True, "asked": []})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        handler.url = f"http://127.0.0.1:{running.server_port}"
        yield handler
        running.shutdown()


def sha256(data):
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def toy(server, monkeypatch):
    """A set of one file served at /toy.bin, and at a second mirror."""
    server.files["/toy.bin"] = server.files["/mirror/toy.bin"] = CONTENTS
    entry = FileSet(
        name="toy",
        title="Toy",
        citation="",
        shape=(1,),
        num_classes=2,
        folders=("toy",),
        layouts=(FileLayout({"all": "toy.bin"}, 1, 0),),
        downloads=(Download("toy.bin", (f"{server.url}/toy.bin", f"{server.url}/mirror/toy.bin"), sha256(CONTENTS)),),
        checksums={"toy.bin": sha256(CONTENTS)},
    )
    monkeypatch.setitem(FILE_SETS, "toy", entry)
    return entry


def test_a_file_arrives_checked_with_progress_and_only_once(server, toy, tmp_path):
    seen = []
    folder = fetch("toy", data_dir=tmp_path, progress=lambda *report: seen.append(report))
    assert (folder / "toy.bin").read_bytes() == CONTENTS
    assert sorted(path.name for path in folder.iterdir()) == ["toy.bin"]
    assert seen[0] == ("toy.bin", 0, len(CONTENTS))
    assert seen[-1] == ("toy.bin", len(CONTENTS), len(CONTENTS))
    fetch("toy", data_dir=tmp_path)
    assert len(server.asked) == 1


def test_a_cut_connection_is_continued_not_repeated(server, toy, tmp_path):
    server.cuts["/toy.bin"] = 2
    folder = fetch("toy", data_dir=tmp_path)
    assert (folder / "toy.bin").read_bytes() == CONTENTS
    assert [path for path, _ in server.asked] == ["/toy.bin"] * 3
    starts = [int(asked.removeprefix("bytes=").removesuffix("-")) for _, asked in server.asked[1:]]
    # Each answer was cut half way; the piece of at most 2^15 bytes it was in is lost, and nothing before it.
    served = [len(CONTENTS) // 2, starts[0] + (len(CONTENTS) - starts[0]) // 2]
    assert all(0 <= sent - start < 2**15 for sent, start in zip(served, starts, strict=True))


def test_what_an_earlier_process_left_is_continued(server, toy, tmp_path):
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "toy.bin.part").write_bytes(CONTENTS[:211])
    assert (fetch("toy", data_dir=tmp_path) / "toy.bin").read_bytes() == CONTENTS
    assert server.asked == [("/toy.bin", "bytes=211-")]


@pytest.mark.parametrize("left", [CONTENTS, CONTENTS + b"too much"])
def test_a_part_that_is_already_whole_or_too_long(server, toy, tmp_path, left):
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "toy.bin.part").write_bytes(left)
    assert (fetch("toy", data_dir=tmp_path) / "toy.bin").read_bytes() == CONTENTS
    assert len(server.asked) == (1 if left == CONTENTS else 2)


def test_a_server_without_ranges_is_asked_for_everything(server, toy, tmp_path):
    server.ranges, server.cuts["/toy.bin"] = False, 1
    assert (fetch("toy", data_dir=tmp_path) / "toy.bin").read_bytes() == CONTENTS


def test_a_part_of_another_file_fails_its_checksum_and_is_fetched_anew(server, toy, tmp_path):
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "toy.bin.part").write_bytes(b"x" * 1009)
    assert (fetch("toy", data_dir=tmp_path) / "toy.bin").read_bytes() == CONTENTS
    assert server.asked == [("/toy.bin", "bytes=1009-"), ("/toy.bin", None)]


def test_a_wrong_file_is_never_left_in_place_and_the_mirror_is_tried(server, toy, tmp_path):
    server.files["/toy.bin"] = CONTENTS[:-1] + b"!"
    assert (fetch("toy", data_dir=tmp_path) / "toy.bin").read_bytes() == CONTENTS
    server.files["/mirror/toy.bin"] = b"wrong too"
    (tmp_path / "toy" / "toy.bin").unlink()
    with pytest.raises(DataError) as caught:
        fetch("toy", data_dir=tmp_path)
    message = str(caught.value)
    assert "/toy.bin" in message
    assert "/mirror/toy.bin" in message
    assert sha256(CONTENTS) in message
    assert str(tmp_path / "toy") in message
    assert list((tmp_path / "toy").iterdir()) == []


def test_a_damaged_file_in_place_is_replaced(toy, tmp_path):
    folder = fetch("toy", data_dir=tmp_path)
    (folder / "toy.bin").write_bytes(b"damaged")
    fetch("toy", data_dir=tmp_path)
    assert (folder / "toy.bin").read_bytes() == CONTENTS


def test_no_server_at_all_is_one_message(toy, tmp_path, monkeypatch):
    gone = dataclasses.replace(toy, downloads=(Download("toy.bin", ("http://127.0.0.1:9/toy.bin",), sha256(CONTENTS)),))
    monkeypatch.setitem(FILE_SETS, "toy", gone)
    with pytest.raises(DataError, match=r"could not fetch toy.bin from\n  http://127.0.0.1:9/toy.bin"):
        fetch("toy", data_dir=tmp_path)


def test_a_folder_that_cannot_be_written_is_named(toy, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(DataError, match="cannot write"):
        fetch("toy", data_dir=tmp_path / "file")


def test_a_set_found_elsewhere_is_left_there(server, toy, tmp_path, monkeypatch):
    folder = fetch("toy", data_dir=tmp_path / "system")
    monkeypatch.setattr("batchscope.data.locate._checkout", lambda: tmp_path / "x" / "checkout")
    (tmp_path / "x" / "shared").mkdir(parents=True)
    (tmp_path / "x" / "shared" / "data").symlink_to(folder.parent)
    monkeypatch.setattr("batchscope.data.locate.user_cache", lambda: tmp_path / "cache")
    asked = len(server.asked)
    assert fetch("toy") == tmp_path / "x" / "shared" / "data" / "toy"
    assert len(server.asked) == asked


def test_without_a_data_dir_the_variable_and_then_the_cache_receive(toy, tmp_path, monkeypatch):
    monkeypatch.setattr("batchscope.data.locate.user_cache", lambda: tmp_path / "cache")
    monkeypatch.setenv("BATCHSCOPE_DATA", str(tmp_path / "variable"))
    assert fetch("toy") == tmp_path / "variable" / "toy"
    monkeypatch.delenv("BATCHSCOPE_DATA")
    assert fetch("toy") == tmp_path / "cache" / "toy"


@pytest.mark.parametrize(
    ("name", "says"),
    [("digits", "needs no files"), ("emnist47", "cannot be fetched"), ("mnits", "did you mean 'mnist'")],
)
def test_what_cannot_be_fetched_is_refused(name, says, tmp_path):
    with pytest.raises(InputError, match=says):
        fetch(name, data_dir=tmp_path)


def zipped(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.mkdir("gzip")
        for name, data in files.items():
            archive.writestr(f"gzip/{name}", data)
    return buffer.getvalue()


def tarred(files):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(f"../cifar-10-batches-bin/{name}")  # a path that tries to leave the folder
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_only_the_members_named_are_taken_out_of_an_archive(server, toy, tmp_path, monkeypatch, pack):
    archive = pack({"a.bin": b"alpha", "other.bin": b"not wanted", "b.bin": b"beta"})
    server.files["/all.archive"] = archive
    download = Download("all.archive", (f"{server.url}/all.archive",), sha256(archive), members=("a.bin", "b.bin"))
    entry = dataclasses.replace(toy, downloads=(download,), checksums={"a.bin": sha256(b"alpha")})
    monkeypatch.setitem(FILE_SETS, "toy", entry)
    folder = fetch("toy", data_dir=tmp_path / "root")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {"a.bin": b"alpha", "b.bin": b"beta"}
    assert [path.name for path in tmp_path.iterdir()] == ["root"]
    fetch("toy", data_dir=tmp_path / "root")
    assert len(server.asked) == 1  # the archive is gone, its members are known to be there


@pytest.mark.parametrize(
    ("members", "checksums", "says"),
    [
        (("a.bin", "c.bin"), {}, "holds no c.bin"),
        (("a.bin",), {"a.bin": sha256(b"?")}, "member a.bin has another checksum"),
    ],
)
def test_an_archive_with_other_contents_is_refused(server, toy, tmp_path, monkeypatch, members, checksums, says):
    archive = zipped({"a.bin": b"alpha"})
    server.files["/all.zip"] = archive
    download = Download("all.zip", (f"{server.url}/all.zip",), sha256(archive), members=members)
    monkeypatch.setitem(FILE_SETS, "toy", dataclasses.replace(toy, downloads=(download,), checksums=checksums))
    with pytest.raises(DataError, match=says):
        fetch("toy", data_dir=tmp_path)


def test_every_known_download_has_a_checksum_and_leaves_what_its_first_layout_needs():
    for entry in FILE_SETS.values():
        for download in entry.downloads:
            algorithm, _, digest = download.checksum.rpartition(":")
            assert len(digest) == {"": 64, "md5": 32}[algorithm]
            assert all(url.endswith(download.file) for url in download.urls)
        stored = {file.removesuffix(".gz") for download in entry.downloads for file in download.stored}
        assert not entry.downloads or stored == set(entry.layouts[0].files.values())


def test_check_finds_the_wrong_checksum_and_the_wrong_size(mnist_folder):
    report = check("mnist", data_dir=mnist_folder)
    assert [file.matches for file in report.files] == [False] * 4  # tiny files named like the real ones
    assert len(report.problems) == 5
    assert "53 + 17 held out; MNIST has 60000 + 10000" in report.problems[0]
    assert all("batchscope data get mnist" in problem for problem in report.problems[1:])
    assert report.dataset is not None


def test_check_reports_a_damaged_file_rather_than_stopping(mnist_folder):
    path = mnist_folder / "mnist" / "train-labels-idx1-ubyte.gz"
    path.write_bytes(path.read_bytes()[:30])
    report = check("mnist", data_dir=mnist_folder)
    assert report.dataset is None
    assert "truncated or corrupt" in report.problems[0]
    assert sum(str(path) in problem for problem in report.problems) == 1


def test_check_of_a_set_without_files_loads_it():
    report = check("digits")
    assert report.files == ()
    assert report.problems == ()
    assert report.dataset.num_examples == 1437
