from __future__ import annotations

from pathlib import Path

import pytest

from tao_anomaly.atomic_file import write_atomically


def test_folder_and_file_are_made_and_nothing_else(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a" / "b.txt", "grün\n")
    write_atomically(tmp_path / "a" / "c.bin", b"\x00\xff")
    assert (tmp_path / "a" / "b.txt").read_bytes() == "grün\n".encode()
    assert (tmp_path / "a" / "c.bin").read_bytes() == b"\x00\xff"
    assert len(list((tmp_path / "a").iterdir())) == 2


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.json"
    write_atomically(path, "old")

    def half(self: Path, data: bytes) -> int:
        with self.open("wb") as file:
            file.write(data[:2])
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.raises(OSError, match="no space left"):
        write_atomically(path, "new content")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
