from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tao_anomaly import weights
from tao_anomaly.weights import Release, WeightsError, cache_folder, download, find_weights

CONTENT = bytes(range(256)) * 4096  # 1 MiB
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """An empty shared folder of weights and an empty cache."""
    monkeypatch.setenv("TAO_ANOMALY_SHARED", str(tmp_path / "shared"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    shared, cache = tmp_path / "shared" / "weights", tmp_path / "cache" / "tao_anomaly" / "weights"
    shared.mkdir(parents=True)
    cache.mkdir(parents=True)
    return shared, cache


def test_an_explicit_path_comes_first_then_shared_then_the_cache(
    places: tuple[Path, Path], tmp_path: Path
) -> None:
    shared, cache = places
    in_cache, coco, in_shared = (
        cache / "yolov8n.pt",
        shared / "yolov8n_coco.pt",
        shared / "yolov8n.pt",
    )
    explicit = tmp_path / "mine.pt"
    for path in (in_cache, coco, in_shared):
        path.touch()
        assert find_weights("yolov8n", sha256="any") == path
    explicit.touch()
    assert find_weights(str(explicit), sha256="any") == explicit


def test_missing_weights_say_where_they_were_sought_and_what_to_do(
    places: tuple[Path, Path],
) -> None:
    shared, cache = places
    with pytest.raises(WeightsError) as caught:
        find_weights("yolov8s")
    message = str(caught.value)
    assert str(shared / "yolov8s.pt") in message
    assert str(cache / "yolov8s.pt") in message
    assert "python -m tao_anomaly.weights download yolov8s" in message
    assert "plaza, which is always there, is for rendered scenes alone" in message


def test_the_packaged_detector_needs_no_folder_and_no_download(places: tuple[Path, Path]) -> None:
    shared, _ = places
    (shared / "plaza.pt").touch()  # does not take its place
    found = find_weights("plaza")
    assert found == Path(weights.__file__).parent / "detection" / "weights" / "plaza.onnx"
    assert found.is_file()
    with pytest.raises(WeightsError, match="known names are yolov8n, yolov8s, yolov8m, yolov8l"):
        find_weights("yolo99")


def test_a_path_is_taken_at_its_word(places: tuple[Path, Path], tmp_path: Path) -> None:
    (places[0] / "gone.pt").touch()
    for path in (tmp_path / "gone.pt", "gone.pt", tmp_path):
        with pytest.raises(WeightsError, match="no such weights file; give the path of a YOLOv8"):
            find_weights(str(path))


def test_without_a_shared_folder_only_the_cache_is_searched(
    places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TAO_ANOMALY_SHARED")
    (places[0] / "yolov8n.pt").touch()
    with pytest.raises(WeightsError, match=r"looked for\n  .*cache.*yolov8n\.pt\nrun"):
        find_weights("yolov8n")
    (places[1] / "yolov8n.pt").touch()
    assert find_weights("yolov8n", sha256="any") == places[1] / "yolov8n.pt"


def test_the_table_names_the_published_files(shared: Path) -> None:
    published = (shared / "weights" / "README.md").read_text()
    for name, release in weights.RELEASES.items():
        assert f"| {name}.pt |" in published
        assert release.sha256 in published
        assert release.url.endswith(f"/v8.3.0/{name}.pt")


class Server(ThreadingHTTPServer):
    """Serves CONTENT with ranges and notes what it was asked for.

    cut: bytes after which a connection breaks. plain: ranges are ignored.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.ranges: list[str | None] = []
        self.content = CONTENT
        self.cut: int | None = None
        self.plain = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/yolov8n.pt"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.ranges.append(wanted)
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        ranged = wanted is not None and not self.server.plain
        body = self.server.content[start:] if ranged else self.server.content
        if ranged and not body:
            self.send_error(416)
            return
        self.send_response(206 if ranged else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: self.server.cut])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    served = Server()
    thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setitem(weights.RELEASES, "yolov8n", Release(served.url, DIGEST))
    for proxy in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(proxy, raising=False)
    yield served
    served.shutdown()
    thread.join()
    served.server_close()


def test_download_fills_the_cache_once(places: tuple[Path, Path], server: Server) -> None:
    path = download("yolov8n")
    assert path == cache_folder() / "yolov8n.pt" == places[1] / "yolov8n.pt"
    assert path.read_bytes() == CONTENT
    assert [p.name for p in path.parent.iterdir()] == ["yolov8n.pt"]
    assert download("yolov8n") == path
    assert server.ranges == [None]  # the second call fetched nothing
    assert find_weights("yolov8n") == path


def test_a_broken_transfer_is_resumed(tmp_path: Path, server: Server) -> None:
    server.cut = 300_000
    with pytest.raises(WeightsError, match=r"got 300000 of 1048576 bytes.*it resumes"):
        download("yolov8n", folder=tmp_path)
    assert not (tmp_path / "yolov8n.pt").exists()
    server.cut = None
    assert download("yolov8n", folder=tmp_path).read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=300000-"]


def test_a_server_without_ranges_sends_all_again(tmp_path: Path, server: Server) -> None:
    (tmp_path / "yolov8n.pt.part").write_bytes(CONTENT[:1000])
    server.plain = True
    assert download("yolov8n", folder=tmp_path).read_bytes() == CONTENT
    assert server.ranges == ["bytes=1000-"]


def test_a_transfer_that_only_lacks_its_name_is_finished(tmp_path: Path, server: Server) -> None:
    (tmp_path / "yolov8n.pt.part").write_bytes(CONTENT)
    assert download("yolov8n", folder=tmp_path).read_bytes() == CONTENT


def test_a_wrong_hash_leaves_nothing_behind(tmp_path: Path, server: Server) -> None:
    server.content = CONTENT[::-1]
    with pytest.raises(WeightsError, match=f"got SHA-256 .*, expected {DIGEST}"):
        download("yolov8n", folder=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_file_in_the_cache_is_fetched_again(tmp_path: Path, server: Server) -> None:
    (tmp_path / "yolov8n.pt").write_bytes(b"damaged")
    assert download("yolov8n", folder=tmp_path).read_bytes() == CONTENT


def test_no_connection_is_an_error_with_the_place_for_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = Release("http://127.0.0.1:9/yolov8n.pt", DIGEST)
    monkeypatch.setitem(weights.RELEASES, "yolov8n", nowhere)
    with pytest.raises(WeightsError, match=rf"not fetched .* put it at {tmp_path}/yolov8n\.pt"):
        download("yolov8n", folder=tmp_path)
    with pytest.raises(WeightsError, match="got model 'yolo99', expected one of yolov8n"):
        download("yolo99", folder=tmp_path)


def test_the_command_refuses_other_names() -> None:
    command = [sys.executable, "-m", "tao_anomaly.weights", "download", "yolo99"]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ, timeout=60)
    assert done.returncode == 2
    assert "invalid choice: 'yolo99'" in done.stderr
