from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tao_anomaly.media import clip_file
from tao_anomaly.media.clip_file import ClipInfo, StoreError
from tao_anomaly.media.feature_store import FeatureStore
from tao_anomaly.structures import FeatureLayout, TrackFeatures, Tracks
from tao_anomaly.windows import FeatureMismatchError

LAYOUT = FeatureLayout(appearance=6, kinematics=3, classes=2)


def info(clip: str = "c1", **changes: object) -> ClipInfo:
    base = ClipInfo(
        dataset="d",
        clip=clip,
        split="train",
        rate=10.0,
        feature_id="abc",
        layout=LAYOUT,
        precision="float32",
        class_names={0: "person"},
        settings={"detector": {"confidence": 0.05}},
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def features(count: int, *, seed: int = 0, layout: FeatureLayout = LAYOUT) -> TrackFeatures:
    rng = np.random.default_rng(seed)
    return TrackFeatures(
        stamp_ns=1_700_000_000_000_000_000 + seed,
        epoch=seed // 4,
        image_size=(240, 360 + seed),
        tracks=Tracks(
            ids=tuple(f"0-{i}" for i in range(count)),
            boxes=rng.uniform(0, 200, (count, 4)).astype(np.float32),
            scores=rng.uniform(0, 1, count).astype(np.float32),
            class_ids=rng.integers(0, 80, count),
            ages=rng.integers(0, 10_000, count),
            states=rng.integers(0, 3, count),
        ),
        features=rng.normal(size=(count, layout.dim)).astype(np.float32),
        feature_id="abc",
    )


def write(store: FeatureStore, clip: ClipInfo, frames: list[tuple[int, TrackFeatures]]) -> None:
    with store.writer(clip) as writer:
        for index, found in frames:
            writer.add(index, found)


def assert_equal(got: TrackFeatures, expected: TrackFeatures) -> None:
    assert got.tracks.ids == expected.tracks.ids
    for part, wanted in (
        (got.features, expected.features),
        (got.tracks.boxes, expected.tracks.boxes),
        (got.tracks.scores, expected.tracks.scores),
        (got.tracks.class_ids, expected.tracks.class_ids),
        (got.tracks.ages, expected.tracks.ages),
        (got.tracks.states, expected.tracks.states),
    ):
        assert part.dtype == wanted.dtype
        np.testing.assert_array_equal(part, wanted)
    assert (got.stamp_ns, got.epoch, got.image_size, got.feature_id) == (
        expected.stamp_ns,
        expected.epoch,
        expected.image_size,
        expected.feature_id,
    )


@pytest.mark.parametrize("counts", [[3, 0, 2, 0, 0, 5], [0, 0], [0, 1], [4]])
@pytest.mark.parametrize(("grid", "classes"), [(0, 2), (2, 3), (2, 0), (0, 0)])
@pytest.mark.parametrize("rows", [1, 4, 4096])
def test_frames_come_back_as_they_were(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    counts: list[int],
    grid: int,
    classes: int,
    rows: int,
) -> None:
    monkeypatch.setattr(clip_file, "_ROWS", rows)  # row groups of all sizes
    layout = replace(LAYOUT, grid=grid, classes=classes)
    frames = [(2 * i, features(n, seed=i, layout=layout)) for i, n in enumerate(counts)]
    write(FeatureStore(tmp_path), info(layout=layout), frames)
    store = FeatureStore(tmp_path)
    assert store.layout == layout
    assert store.frames("d/c1").tolist() == [index for index, _ in frames]
    read = store.read("d/c1")
    assert len(read) == len(frames)
    for got, (_, expected) in zip(read, frames, strict=True):
        assert_equal(got, expected)


def test_float16_rounds_all_but_kinematics(tmp_path: Path) -> None:
    layout = replace(LAYOUT, grid=1)
    found = features(50, layout=layout)
    write(FeatureStore(tmp_path), info(layout=layout, precision="float16"), [(0, found)])
    got = FeatureStore(tmp_path).read("d/c1")[0].features
    kinematics = layout.kinematics_slice
    np.testing.assert_array_equal(got[:, kinematics], found.features[:, kinematics])
    for part in (layout.appearance_slice, layout.grid_slice, layout.classes_slice):
        rounded = found.features[:, part].astype(np.float16).astype(np.float32)
        np.testing.assert_array_equal(got[:, part], rounded)
    too_large = replace(found, features=found.features * 1e6)
    with pytest.raises(StoreError, match="beyond float16; set precision=float32"):
        write(
            FeatureStore(tmp_path), info("c2", layout=layout, precision="float16"), [(0, too_large)]
        )


def test_non_finite_features_survive(tmp_path: Path) -> None:
    found = features(2)
    found.features[0, 0], found.features[1, 7] = np.nan, np.inf
    write(FeatureStore(tmp_path), info(precision="float16"), [(0, found)])
    got = FeatureStore(tmp_path).read("d/c1")[0].features
    np.testing.assert_array_equal(np.isfinite(got), np.isfinite(found.features))


def test_a_clip_without_frames_is_a_clip(tmp_path: Path) -> None:
    write(FeatureStore(tmp_path), info(), [])
    store = FeatureStore(tmp_path)
    assert store.clips() == ["d/c1"]
    assert store.read("d/c1") == []


def test_what_holds_for_the_clip_comes_back(tmp_path: Path) -> None:
    with FeatureStore(tmp_path).writer(info()) as writer:
        writer.add(0, features(1))
        writer.add(1, features(0, seed=1))
        writer.skip({"duplicate stamp": 2})
    assert FeatureStore(tmp_path).infos["d/c1"] == info(frames=2, skipped={"duplicate stamp": 2})


def test_other_tools_read_named_columns(tmp_path: Path) -> None:
    write(FeatureStore(tmp_path), info(), [(7, features(2)), (8, features(0, seed=1))])
    table = pq.read_table(tmp_path / "d/c1.parquet")
    assert table["dataset"].to_pylist() == ["d"] * 3
    assert table["clip"].to_pylist() == ["c1"] * 3
    assert table["feature_id"].to_pylist() == ["abc"] * 3
    assert table["frame"].to_pylist() == [7, 7, 8]
    assert table["track"].to_pylist() == ["0-0", "0-1", None]
    assert table["image_width"].to_pylist() == [360, 360, 361]
    assert table["appearance"].type.list_size == LAYOUT.appearance


def test_clips_are_chosen_by_dataset_and_split(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    for clip in (info("b"), info("a", split="test"), info("a", dataset="e")):
        write(store, clip, [])
    store = FeatureStore(tmp_path)
    assert store.clips() == ["d/a", "d/b", "e/a"]
    assert store.clips(dataset="d") == ["d/a", "d/b"]
    assert store.clips(split="test") == ["d/a"]


def test_a_failed_clip_leaves_nothing(tmp_path: Path) -> None:
    other = replace(features(1), feature_id="other")
    with (
        pytest.raises(FeatureMismatchError),
        FeatureStore(tmp_path).writer(info()) as writer,
    ):
        writer.add(0, other)
    assert list(tmp_path.rglob("*.*")) == []


def test_what_a_killed_extraction_left_is_no_clip_and_is_removed(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    writer = store.writer(info()).__enter__()
    writer.add(0, features(1))
    assert len(list(tmp_path.rglob("*.unfinished"))) == 1
    assert FeatureStore(tmp_path).clips() == []
    store.remove_unfinished()
    assert list(tmp_path.rglob("*.*")) == []


def test_other_features_are_refused_with_both_ids_and_the_remedy(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    store.require("whatever")  # an empty store takes any
    write(store, info(), [])
    store = FeatureStore(tmp_path)
    store.require("abc")
    with pytest.raises(FeatureMismatchError, match=r"got features new, .* holds abc; .*another"):
        store.require("new")
    with (
        pytest.raises(FeatureMismatchError, match=r"got features abc, expected new"),
        store.writer(info("c2", feature_id="new")) as writer,
    ):
        writer.add(0, features(1))


def test_clips_of_two_features_in_one_folder_are_refused(tmp_path: Path) -> None:
    write(FeatureStore(tmp_path), info("a"), [])
    write(FeatureStore(tmp_path), info("b", feature_id="new"), [])
    with pytest.raises(StoreError, match="d/b holds features new and d/a abc"):
        FeatureStore(tmp_path).clips()


def test_other_settings_are_refused_by_name(tmp_path: Path) -> None:
    write(FeatureStore(tmp_path), info(), [])
    store = FeatureStore(tmp_path)
    store.require_settings({"detector": {"confidence": 0.05}}, "float32")
    with pytest.raises(StoreError, match=r"detector.confidence: got 0.3, the store has 0.05"):
        store.require_settings({"detector": {"confidence": 0.3}}, "float32")
    with pytest.raises(StoreError, match="precision: got float16, the store has float32"):
        store.require_settings({"detector": {"confidence": 0.05}}, "float16")


def test_a_setting_younger_than_the_store_had_its_default(tmp_path: Path) -> None:
    write(FeatureStore(tmp_path), info(), [])
    store = FeatureStore(tmp_path)
    store.require_settings({"tracker": {"camera_motion": "static"}}, "float32")
    with pytest.raises(StoreError, match="camera_motion: got compensate, the store has static"):
        store.require_settings({"tracker": {"camera_motion": "compensate"}}, "float32")


def test_damaged_files_are_named(tmp_path: Path) -> None:
    write(FeatureStore(tmp_path), info(), [(0, features(3))])
    path = tmp_path / "d/c1.parquet"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(StoreError, match=r"c1.parquet: not a complete clip .*delete it"):
        FeatureStore(tmp_path).clips()
    pq.write_table(pq.read_table(_written(path, whole)).replace_schema_metadata(None), path)
    with pytest.raises(StoreError, match=r"c1.parquet: not a complete clip"):
        FeatureStore(tmp_path).clips()


def _written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("clip", ["c1", "d/../c1", "/c1", "d/.c1", "../c1"])
def test_clips_outside_the_store_are_refused(tmp_path: Path, clip: str) -> None:
    with pytest.raises(StoreError, match="expected <dataset>/<clip>"):
        FeatureStore(tmp_path).path(clip)


def test_unknown_clips_and_empty_stores_are_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no clip 'd/c1' among 0; extract it first"):
        FeatureStore(tmp_path).read("d/c1")
    with pytest.raises(StoreError, match="holds no clip"):
        FeatureStore(tmp_path).feature_id  # noqa: B018
    with pytest.raises(StoreError, match="got precision 'float8'"):
        FeatureStore(tmp_path).writer(info(precision="float8"))
