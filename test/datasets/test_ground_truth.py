from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tao_anomaly.datasets.ground_truth import (
    derive_region_tracks,
    derived_region_tracks,
    mask_regions,
    read_merl_tracks,
    read_tracks,
    write_region_tracks,
)
from tao_anomaly.datasets.masks import ImageMasks
from tao_anomaly.metrics.regions import RegionTracks


def mask(*boxes: tuple[int, int, int, int], size: tuple[int, int] = (20, 30)) -> np.ndarray:
    """Return a mask with these boxes (x1, y1, x2, y2, inclusive) anomalous."""
    image = np.zeros(size, bool)
    for x1, y1, x2, y2 in boxes:
        image[y1 : y2 + 1, x1 : x2 + 1] = True
    return image


def test_components_are_8_connected_and_boxes_inclusive() -> None:
    image = mask((2, 3, 4, 5), (5, 6, 6, 7), (10, 0, 10, 1))  # the first two touch at a corner
    assert sorted(mask_regions(image).tolist()) == [[2, 3, 6, 7], [10, 0, 10, 1]]


def test_a_stray_pixel_is_a_region_only_where_it_is_all_there_is() -> None:
    assert mask_regions(mask((5, 5, 5, 5), (8, 8, 9, 8))).tolist() == [[8, 8, 9, 8]]
    assert mask_regions(mask((5, 5, 5, 5))).tolist() == [[5, 5, 5, 5]]


def test_regions_of_successive_frames_are_linked_by_overlap() -> None:
    frames = [
        mask((0, 0, 3, 3), (20, 10, 23, 13)),
        mask((20, 10, 23, 13), (1, 0, 4, 3)),
        None,
        mask((2, 0, 5, 3)),
    ]
    regions = derive_region_tracks(frames)
    rows = zip(regions.track_ids.tolist(), regions.frames.tolist(), strict=True)
    # Nothing in frame 2: what follows is a new track.
    assert list(rows) == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 3)]
    assert regions.boxes[1].tolist() == [1, 0, 4, 3]


def test_links_take_the_highest_sum_of_overlaps() -> None:
    # The first track overlaps the region too (2 of 14 pixels), the second more (5 of 11).
    before = mask((0, 0, 7, 0), (9, 0, 16, 0))
    after = mask((6, 0, 13, 0))
    regions = derive_region_tracks([before, after])
    assert regions.track_ids.tolist() == [0, 1, 1]


def test_regions_below_the_link_overlap_are_different_tracks() -> None:
    # 1 of 19 pixels in common: IoU 0.053; then 2 of 18: 0.111.
    assert derive_region_tracks([mask((0, 0, 9, 0)), mask((9, 0, 18, 0))]).track_ids[1] == 1
    assert derive_region_tracks([mask((0, 0, 9, 0)), mask((8, 0, 17, 0))]).track_ids[1] == 0


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 2**20 - 1), max_size=6))
def test_every_mask_pixel_lies_in_a_region_of_its_frame(bits: list[int]) -> None:
    masks = [np.array([b >> i & 1 for i in range(20)], bool).reshape(4, 5) for b in bits]
    regions = derive_region_tracks(masks)
    for frame, image in enumerate(masks):
        boxes = regions.boxes[regions.frames == frame].astype(int).tolist()
        covered = mask(*(tuple(box) for box in boxes), size=(4, 5))
        missed = image & ~covered
        assert bool(boxes) == bool(image.any())
        # Only single stray pixels beside larger components are left out.
        assert not missed.any() or max(mask_sizes(missed)) == 1


def mask_sizes(image: np.ndarray) -> list[int]:
    _, _, statistics, _ = cv2.connectedComponentsWithStats(image.astype(np.uint8), connectivity=8)
    return statistics[1:, cv2.CC_STAT_AREA].tolist()


def test_merl_files_name_frames_from_one_and_boxes_by_centre(tmp_path: Path) -> None:
    path = tmp_path / "Test001_gt.txt"
    path.write_text("002.jpg 0 20 10 8 9\n\n/data/Test/Test001/003.jpg 1 20.5 10 8 9\n")
    regions = read_merl_tracks(path)
    assert regions.track_ids.tolist() == [0, 1]
    assert regions.frames.tolist() == [1, 2]
    assert regions.boxes[0].tolist() == [16.5, 6, 23.5, 14]  # 8 x 9 inclusive pixels


@pytest.mark.parametrize("row", ["002.jpg 0 20 10 8", "frame 0 1 2 3 4", "002.jpg a 1 2 3 4"])
def test_malformed_merl_rows_are_named(tmp_path: Path, row: str) -> None:
    path = tmp_path / "a_gt.txt"
    path.write_text(f"001.jpg 0 20 10 8 8\n{row}\n")
    with pytest.raises(ValueError, match=r"a_gt.txt, line 2: got .*expected <image file>"):
        read_merl_tracks(path)


def test_merl_rows_that_break_a_rule_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a_gt.txt"
    path.write_text("001.jpg 0 20 10 8 8\n\n001.jpg 0 22 10 8 8\n")
    with pytest.raises(ValueError, match=r"a_gt.txt, line 1 and 3: track 0 has two regions"):
        read_merl_tracks(path)


def test_both_text_formats_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "aed.txt").write_text("0,154,4,142,119,249\n")
    (tmp_path / "merl.txt").write_text("155.jpg 0 61.5 195.5 116 108\n")
    (tmp_path / "none.txt").write_text("")
    aed, merl = (read_tracks(tmp_path / name) for name in ("aed.txt", "merl.txt"))
    assert aed.boxes.tolist() == merl.boxes.tolist() == [[4, 142, 119, 249]]
    assert aed.frames.tolist() == merl.frames.tolist() == [154]
    assert len(read_tracks(tmp_path / "none.txt")) == 0


def test_written_tracks_read_back_equal(tmp_path: Path) -> None:
    regions = RegionTracks(
        track_ids=np.array([3, 3]),
        frames=np.array([0, 1]),
        boxes=np.array([[0, 1, 2, 3.5], [1 / 3, 1, 2, 3]]),
    )
    write_region_tracks(tmp_path / "new" / "a.txt", regions)
    again = read_tracks(tmp_path / "new" / "a.txt")
    assert again.boxes.tolist() == regions.boxes.tolist()
    assert again.track_ids.tolist() == [3, 3]
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["a.txt"]


def test_derived_tracks_are_kept_until_the_masks_change(tmp_path: Path) -> None:
    image = tmp_path / "001.png"
    cv2.imwrite(str(image), mask((1, 1, 4, 4)).astype(np.uint8) * 255)
    masks, cache = ImageMasks((image,)), tmp_path / "kept" / "clip.txt"
    assert derived_region_tracks(masks, cache).boxes.tolist() == [[1, 1, 4, 4]]
    cache.write_text("7,0,0,0,9,9\n")
    assert derived_region_tracks(masks, cache).boxes.tolist() == [[0, 0, 9, 9]]
    cv2.imwrite(str(image), mask((2, 1, 4, 4)).astype(np.uint8) * 255)
    os.utime(image, ns=(0, 0))
    assert derived_region_tracks(masks, cache).boxes.tolist() == [[2, 1, 4, 4]]
    assert cache.read_text() == "0,0,2,1,4,4\n"
