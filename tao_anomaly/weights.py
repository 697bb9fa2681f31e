"""Where detector weights come from: a path, this package, the shared folder, the user's cache.

``python -m tao_anomaly.weights download yolov8s`` fills the cache; nothing else downloads. A
checkpoint is a pickle: one that is not known is used only where the user vouches for it.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

SHARED_VARIABLE = "TAO_ANOMALY_SHARED"
ANY = "any"  # in place of a SHA-256: the file is trusted whatever it holds
EXPORT_SUFFIX = ".onnx"
_RELEASE = "https://github.com/ultralytics/assets/releases/download/v8.3.0"
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Release:
    """A published weights file: where it lies and its SHA-256 (licence: AGPL-3.0)."""

    url: str
    sha256: str


# SHA-256 as public repositories record them for release v8.3.0.
RELEASES = {
    name: Release(f"{_RELEASE}/{name}.pt", digest)
    for name, digest in {
        "yolov8n": "f59b3d833e2ff32e194b5bb8e08d211dc7c5bdf144b90d2c8412c47ccfc83b36",
        "yolov8s": "1f47a78bf100391c2a140b7ac73a1caae18c32779be7d310658112f7ac9aa78a",
        "yolov8m": "5d4a90cdc7a21786cc59cd19778e9eafff836df9e2da32524737c7ee6efe4fe5",
        "yolov8l": "64c9115303f6a25575f82200d1b22ec409fa6bd7d08d0313884fc20d919478cd",
    }.items()
}

# Release v0.0.0 had the same nano and small weights in other bytes; many still have those files.
_OLDER = {
    "31e20dde3def09e2cf938c7be6fe23d9150bbbe503982af13345706515f2ef95",
    "268e5bb54c640c96c3510224833bc2eeacab4135c6deb41502156e39986b562d",
}

# Of no release: YOLOv8n of COCO, rebuilt from int8 exports. benchmarks/results are made with it.
_OF_BENCHMARKS = "54933e4f8887bdb7284ec5e8d1648c065fce1bfa1e13a363bf0d81b7d84a7942"

# Weights that are a part of the package. They know rendered scenes only (licence: AGPL-3.0).
PACKAGED = {"plaza": Path(__file__).parent / "detection" / "weights" / "plaza.onnx"}

# What the user calls the SHA-256 of a detector's weights.
_OF_DETECTOR = (
    "detector.weights_sha256 (fit, infer, extract, evaluate: pipeline.detector.weights_sha256)"
)


class WeightsError(ValueError):
    """Detector weights that are absent or not what they should be; the message has the remedy."""


def cache_folder() -> Path:
    """Return the folder of downloaded weights, in the user's cache."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "tao_anomaly" / "weights"


def find_weights(weights: str, *, sha256: str = "", setting: str = _OF_DETECTOR) -> Path:
    """Return the weights file that `weights`, a path or a model's name, stands for.

    A name is one of PACKAGED, or is looked for in ``$TAO_ANOMALY_SHARED/weights`` and in the cache.
    sha256, setting: as in `check_weights`. Raises WeightsError where there is none, or where
    `check_weights` refuses it.
    """
    path = _locate(weights)
    check_weights(path, sha256=sha256, setting=setting)
    return path


def check_weights(path: Path, *, sha256: str, setting: str) -> None:
    """Raise WeightsError for a file that is not what it should be.

    sha256: what the file must have; ANY: nothing is asked; empty: a checkpoint must be one of
    the releases' or that of the benchmarks, an export, which holds no code, may be any. setting:
    what the user calls `sha256`.
    """
    if sha256 == ANY or (not sha256 and path.suffix == EXPORT_SUFFIX):
        return
    if sha256 and not re.fullmatch("[0-9a-fA-F]{64}", sha256):
        raise WeightsError(
            f"{setting}: got {sha256!r}, expected the 64 hexadecimal digits of a SHA-256, or {ANY}"
        )
    got = _digest(path)
    if sha256 and got != sha256.lower():
        raise WeightsError(
            f"{path}: got SHA-256 {got}, expected {sha256.lower()}; get the file again, or correct"
            f" {setting}"
        )
    known = {_OF_BENCHMARKS, *_OLDER, *(release.sha256 for release in RELEASES.values())}
    if not sha256 and got not in known:
        raise WeightsError(
            f"{path}: got SHA-256 {got}, expected that of a known checkpoint; if you trust where"
            f" the file is from, set {setting} to this hash, or to {ANY}"
        )


def _locate(weights: str) -> Path:
    given = Path(weights).expanduser()
    if given.suffix or given.parent != Path("."):
        if given.is_file():
            return given
        raise WeightsError(f"{given}: no such weights file; give the path of a YOLOv8 .pt file")
    if weights in PACKAGED:
        return PACKAGED[weights]
    places = _places(weights)
    for place in places:
        if place.is_file():
            return place
    looked = "".join(f"\n  {place}" for place in places)
    remedy = (
        f"run `python -m tao_anomaly.weights download {weights}`, which fills the cache, or"
        if weights in RELEASES
        else f"known names are {', '.join(RELEASES)};"
    )
    raise WeightsError(
        f"no weights for {weights!r}; looked for{looked}\n{remedy} give a path"
        " (plaza, which is always there, is for rendered scenes alone)"
    )


def _places(name: str) -> list[Path]:
    shared = os.environ.get(SHARED_VARIABLE)
    folders = [Path(shared) / "weights"] if shared else []
    names = [(folder / f"{name}{suffix}.pt") for folder in folders for suffix in ("", "_coco")]
    return [*names, cache_folder() / f"{name}.pt"]


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def download(name: str, *, folder: Path | None = None) -> Path:
    """Fetch a known model into the cache and return its path; an interrupted fetch is resumed.

    Raises WeightsError for an unknown name, a failed transfer or a wrong SHA-256.
    """
    if name not in RELEASES:
        raise WeightsError(f"got model {name!r}, expected one of {', '.join(RELEASES)}")
    release = RELEASES[name]
    target = (folder or cache_folder()) / f"{name}.pt"
    if target.is_file() and _digest(target) == release.sha256:
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_suffix(".pt.part")
    try:
        _fetch(release.url, part)
    except (urllib.error.URLError, OSError) as error:
        raise WeightsError(
            f"{release.url}: not fetched ({error}); try again (it resumes), or fetch it by hand"
            f" and put it at {target}"
        ) from error
    if (got := _digest(part)) != release.sha256:
        part.unlink()
        raise WeightsError(f"{release.url}: got SHA-256 {got}, expected {release.sha256}")
    part.replace(target)
    return target


def _fetch(url: str, part: Path) -> None:
    done = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={done}-"} if done else {})
    try:
        response = urllib.request.urlopen(request, timeout=60)
    except urllib.error.HTTPError as error:
        if error.code == 416 and done:  # nothing left to fetch
            return
        raise
    with response:
        resumed = response.status == 206
        total = int(response.headers.get("Content-Length") or 0) + (done if resumed else 0)
        with (
            part.open("ab" if resumed else "wb") as file,
            tqdm(total=total, initial=done if resumed else 0, unit="B", unit_scale=True) as bar,
        ):
            while chunk := response.read(_CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
    # A connection that ends early raises nothing.
    if (size := part.stat().st_size) < total:
        raise OSError(f"got {size} of {total} bytes")


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m tao_anomaly.weights", description=__doc__)
    actions = parser.add_subparsers(dest="action", required=True)
    fetch = actions.add_parser("download", help="fetch a model into the cache (AGPL-3.0 weights)")
    fetch.add_argument("name", choices=sorted(RELEASES))
    try:
        print(download(parser.parse_args().name))
    except WeightsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
