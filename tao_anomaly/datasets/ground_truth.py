"""Ground-truth regions and tracks: text files, and their derivation from pixel masks.

AED text files (``track,frame,x1,y1,x2,y2``) are read by `tao_anomaly.metrics.text_formats`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
from scipy.optimize import linear_sum_assignment

from tao_anomaly.atomic_file import write_atomically
from tao_anomaly.datasets.masks import Masks
from tao_anomaly.metrics.regions import MalformedRowsError, RegionTracks, inclusive_iou
from tao_anomaly.metrics.text_formats import read_region_tracks
from tao_anomaly.structures import BoolArray

MIN_REGION_PIXELS = 2  # a single stray pixel is no region, unless it is all that a frame has
LINK_IOU = 0.1  # regions of successive frames that overlap less are different tracks

_MERL_COLUMNS = "<image file> <track> <x centre> <y centre> <width> <height>"


def read_merl_tracks(path: Path) -> RegionTracks:
    """Read a MERL annotation file (Street Scene), rows ``<file> <track> <xc> <yc> <w> <h>``.

    The image file's number, counted from 1, names the frame. Blanks or commas separate the values.
    Boxes become inclusive pixels: ``x1 = xc - (w - 1) / 2``. Raises ValueError with file and line.
    Source: Ramachandra and Jones, "Street Scene", WACV 2020 (its released annotations).
    """
    lines, rows = [], []
    for number, line in enumerate(path.read_text("utf-8-sig").splitlines(), start=1):
        fields = line.replace(",", " ").split()
        if not fields:
            continue
        try:
            frame = int(re.findall(r"\d+", Path(fields[0]).stem)[-1]) - 1
            track = int(fields[1])
            x, y, width, height = map(float, fields[2:])
        except (ValueError, IndexError):
            raise ValueError(
                f"{path}, line {number}: got {line.strip()[:80]!r}, expected {_MERL_COLUMNS}"
            ) from None
        reach = ((width - 1) / 2, (height - 1) / 2)
        box = (x - reach[0], y - reach[1], x + reach[0], y + reach[1])
        rows.append((track, frame, *box))
        lines.append(number)
    try:
        return region_tracks(rows)
    except MalformedRowsError as error:
        numbers = " and ".join(str(lines[row]) for row in error.rows)
        raise ValueError(f"{path}, line {numbers}: {error.reason}") from error


def read_tracks(path: Path) -> RegionTracks:
    """Read an AED or a MERL file, told apart by the first value of its first line."""
    first = path.read_text("utf-8-sig").split(maxsplit=1)
    is_merl = bool(first) and not re.fullmatch(r"[-+.\deE]+", first[0].split(",")[0])
    return read_merl_tracks(path) if is_merl else read_region_tracks(path)


def write_region_tracks(path: Path, regions: RegionTracks) -> None:
    """Write an AED text file, values in full, complete or not at all."""
    rows = zip(
        regions.track_ids.tolist(), regions.frames.tolist(), regions.boxes.tolist(), strict=True
    )
    lines = (
        f"{track},{frame}," + ",".join(f"{value:.17g}" for value in box) + "\n"
        for track, frame, box in rows
    )
    write_atomically(path, "".join(lines))


def region_tracks(rows: Iterable[tuple[float, ...]]) -> RegionTracks:
    """Return the regions of rows ``track, frame, x1, y1, x2, y2``, which may be none."""
    table = np.array(list(rows), np.float64).reshape(-1, 6)
    tracks, frames = table[:, :2].T.astype(np.int64)
    return RegionTracks(track_ids=tracks, frames=frames, boxes=table[:, 2:])


def mask_regions(mask: BoolArray) -> np.ndarray:
    """Return ``(N, 4)``, the boxes (inclusive pixels) of the 8-connected components of a mask."""
    _, _, statistics, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    components = statistics[1:]
    large = components[:, cv2.CC_STAT_AREA] >= MIN_REGION_PIXELS
    kept = components[large] if large.any() else components
    corners = kept[:, :2]
    return np.hstack([corners, corners + kept[:, 2:4] - 1]).astype(np.float64)


def derive_region_tracks(masks: Iterable[BoolArray | None]) -> RegionTracks:
    """Return the connected components of the masks, linked over time.

    Components of successive frames are matched one to one so that the sum of their IoU is highest,
    no pair below LINK_IOU. Where objects meet, their masks join: one track lives on through the
    joint component and one of the objects begins a new track when they part.
    """
    rows: list[tuple[float, ...]] = []
    previous, ids = np.zeros((0, 4)), np.zeros(0, np.int64)
    started = 0
    for frame, mask in enumerate(masks):
        boxes = np.zeros((0, 4)) if mask is None else mask_regions(mask)
        current = np.full(len(boxes), -1, np.int64)
        for old, new in _links(previous, boxes):
            current[new] = ids[old]
        fresh = current < 0
        current[fresh] = started + np.arange(fresh.sum())
        started += int(fresh.sum())
        rows.extend(
            (track, frame, *box)
            for track, box in zip(current.tolist(), boxes.tolist(), strict=True)
        )
        previous, ids = boxes, current
    rows.sort(key=lambda row: row[:2])
    return region_tracks(rows)


def _links(before: np.ndarray, after: np.ndarray) -> list[tuple[int, int]]:
    old, new = np.indices((len(before), len(after))).reshape(2, -1)
    overlap = inclusive_iou(before[old], after[new]).reshape(len(before), len(after))
    pairs = zip(*linear_sum_assignment(overlap, maximize=True), strict=True)
    return [(int(i), int(j)) for i, j in pairs if overlap[i, j] >= LINK_IOU]


def derived_region_tracks(masks: Masks, cache: Path | None = None) -> RegionTracks:
    """Return the regions derived from `masks`, kept in the AED text file `cache` for the next time.

    A file beside it (``.json``) says what the cache was derived from; another state of the masks,
    or another rule, derives it anew.
    """
    if cache is None:
        return derive_region_tracks(masks)
    source = cache.with_suffix(".json")
    state = _state(masks)
    if cache.is_file() and source.is_file() and _read_json(source) == state:
        return read_region_tracks(cache)
    regions = derive_region_tracks(masks)
    write_region_tracks(cache, regions)
    write_atomically(source, json.dumps(state, indent=1) + "\n")
    return regions


def _state(masks: Masks) -> dict[str, object]:
    digest = hashlib.sha256()
    for path in masks.files:
        status = path.stat()
        digest.update(f"{path.name} {status.st_size} {status.st_mtime_ns}\n".encode())
    return {
        "masks": digest.hexdigest(),
        "min_region_pixels": MIN_REGION_PIXELS,
        "link_iou": LINK_IOU,
    }


def _read_json(path: Path) -> object:
    try:
        return json.loads(path.read_text("utf-8"))
    except ValueError:
        return None
