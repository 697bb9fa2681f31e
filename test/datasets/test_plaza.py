"""Plaza: its ground truth against its pixels, its repeatability, its statistics."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from tao_anomaly.command_line import run
from tao_anomaly.datasets.dataset import DatasetError, labels_sha256
from tao_anomaly.datasets.masks import read_mask_image
from tao_anomaly.datasets.plaza.camera import GroundCamera
from tao_anomaly.datasets.plaza.crowd import STEP
from tao_anomaly.datasets.plaza.dataset import mask_file, objects_file
from tao_anomaly.datasets.plaza.generate import PlazaConfig, generate, scenes
from tao_anomaly.datasets.plaza.renderer import Renderer
from tao_anomaly.datasets.plaza.routes import KINDS
from tao_anomaly.datasets.plaza.scene import Scene
from tao_anomaly.datasets.registry import load_dataset
from tao_anomaly.metrics.text_formats import read_region_tracks

SMALL = {"seconds": 6.0, "rate": 2.0, "width": 160, "height": 90, "density": 10.0}


@pytest.fixture(scope="module")
def plaza(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plaza") / "made"
    generate(PlazaConfig(output=str(folder), train_clips=1, test_clips=2, **SMALL))
    return folder


@pytest.fixture(scope="module")
def every_kind() -> Scene:
    return Scene.build(seed=5, seconds=60, density=6, kinds=KINDS)


def test_camera_sees_what_it_projects() -> None:
    camera = GroundCamera(width=640, height=360)
    points = np.array([[0.0, 12, 0], [-4, 25, 0], [3, 30, 2.5]])
    x, y, scale = camera.project(points).T
    assert np.allclose(np.stack(camera.plane(x, y, wall=30.0), axis=1), points, atol=1e-6)
    # A person of 1.7 m is smaller farther away, in proportion to the depth.
    assert scale[0] > scale[1] > scale[2] > 10


def test_boxes_are_tight_round_the_pixels_of_their_objects(plaza: Path) -> None:
    seen = 0
    for name in ("train_001", "test_001"):
        regions = read_region_tracks(objects_file(plaza, name))
        for frame in range(0, 12, 2):
            ids = read_mask_image(mask_file(plaza, name, frame))
            here = regions.frames == frame
            assert set(np.unique(ids)) - {0} == set(regions.track_ids[here])
            for track, box in zip(regions.track_ids[here], regions.boxes[here], strict=True):
                rows, columns = np.nonzero(ids == track)
                assert box.tolist() == [columns.min(), rows.min(), columns.max(), rows.max()]
                seen += 1
    assert seen > 30


def test_pixels_of_an_object_differ_from_the_empty_square(every_kind: Scene) -> None:
    """Labels lie where something is drawn, not beside it."""
    full = Renderer(every_kind, width=320, height=180)
    empty = Renderer(Scene.build(seed=5, seconds=60, density=0), width=320, height=180)
    differing, pixels = 0, 0
    for time in (3.0, 16.0, 57.0):
        drawn = full.render(time)
        apart = np.abs(drawn.image.astype(int) - empty.render(time).image).max(axis=2) > 12
        differing += int((apart & (drawn.ids > 0)).sum())
        pixels += int((drawn.ids > 0).sum())
    assert pixels > 500
    assert differing > 0.9 * pixels


def test_same_seed_gives_the_same_pixels_and_another_does_not(plaza: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    generate(PlazaConfig(output=str(again), train_clips=1, test_clips=1, workers=2, **SMALL))
    for name in ("train_001", "test_001"):
        first, second = (load_dataset("plaza", root).clip(name) for root in (plaza, again))
        for one, other in zip(first.frames(), second.frames(), strict=True):
            assert np.array_equal(one.image, other.image)
        assert labels_sha256([first]) == labels_sha256([second])
        assert objects_file(plaza, name).read_bytes() == objects_file(again, name).read_bytes()
    scenes = [Scene.build(seed=seed, seconds=2) for seed in (1, 2)]
    images = [Renderer(scene, width=160, height=90).render(1.0).image for scene in scenes]
    assert not np.array_equal(*images)


def test_clips_with_anomalies_may_have_another_length() -> None:
    config = PlazaConfig(train_clips=2, test_clips=1, seconds=2, test_seconds=6)
    assert [scene.seconds for _, _, scene in scenes(config)] == [2, 2, 6]


def test_size_samples_the_same_scene(every_kind: Scene) -> None:
    """Boxes of an image twice the size are twice as large, give or take a pixel of either."""
    small = Renderer(every_kind, width=160, height=90).render(30.0).boxes()
    large = Renderer(every_kind, width=320, height=180).render(30.0).boxes()
    common = small.keys() & large.keys()
    assert len(common) >= 4
    for track in common:
        edges = np.array(small[track]) * 2 + [0, 0, 1, 1]
        assert np.abs(edges - large[track]).max() <= 4


def test_rate_samples_the_same_scene(tmp_path: Path) -> None:
    """Every second frame at twice the rate is the frame at the single rate: labels are equal."""
    found = []
    for rate in (2.0, 4.0):
        folder = tmp_path / f"{rate:g}"
        settings = {**SMALL, "seconds": 3.0, "rate": rate}
        generate(PlazaConfig(output=str(folder), train_clips=0, test_clips=1, **settings))
        regions = read_region_tracks(objects_file(folder, "test_001"))
        step = round(rate / 2)
        kept = regions.frames % step == 0
        found.append((regions.track_ids[kept], regions.frames[kept] // step, regions.boxes[kept]))
    assert all(np.array_equal(one, other) for one, other in zip(*found, strict=True))


def test_reads_as_other_datasets_do(plaza: Path) -> None:
    dataset = load_dataset("plaza", plaza)
    assert dataset.splits == ("train", "test")
    kinds: list[str] = []
    for clip in dataset.clips:
        assert (clip.frame_count, clip.rate) == (12, 2.0)
        assert [frame.size for frame in clip.frames()] == [(90, 160)] * 12
        assert clip.regions is not None
        assert clip.frame_labels is not None
        masks = clip.masks()
        assert masks is not None
        assert [m is not None for m in masks] == clip.frame_labels.tolist()
        assert clip.labels is not None
        assert set(clip.labels.kinds) == set(clip.regions.track_ids.tolist())
        kinds += clip.labels.kinds.values()
    assert set(kinds) <= set(KINDS)
    assert len(kinds) >= 4


def test_train_split_has_no_anomaly(plaza: Path) -> None:
    described = yaml.safe_load((plaza / "plaza.yaml").read_text())["clips"]
    normal = [clip for clip in described if clip["split"] == "train"]
    assert [clip["kinds"] for clip in normal] == [{}]
    assert set(normal[0]["categories"].values()) == {"person"}
    (clip,) = load_dataset("plaza", plaza).split("train")
    assert clip.frame_labels is not None
    assert not clip.frame_labels.any()


def test_statistics_of_the_normal_split() -> None:
    """The figures that the docstring of `routes` states."""
    paces, crowd = [], []
    for seed in range(4):
        scene = Scene.build(seed=seed, seconds=60, density=12)
        for actor in scene.actors:
            pace = np.diff(actor.path.travelled) / STEP
            paces.append(pace[pace > 0.3])
        crowd += [len(scene.present(time)) for time in range(0, 60, 5)]
    pace = np.concatenate(paces)
    assert pace.mean() == pytest.approx(1.24, abs=0.02)
    assert pace.std() == pytest.approx(0.21, abs=0.02)
    assert np.percentile(pace, [1, 99]) == pytest.approx([0.55, 1.67], abs=0.03)
    assert 8 < np.mean(crowd) < 16


def test_every_kind_does_what_its_name_says(every_kind: Scene) -> None:
    actors = {actor.kind: actor for actor in every_kind.actors if actor.kind}
    assert set(actors) == set(KINDS)
    for kind, least in (("cyclist", 3.5), ("skateboarder", 2.7), ("runner", 2.7), ("cart", 2.3)):
        pace = np.diff(actors[kind].path.travelled) / STEP
        assert np.median(pace) > least, kind
    backwards = np.diff(actors["wrong_way"].path.positions[:, 0])
    near = actors["wrong_way"].path.positions[0, 1] < 17
    assert np.sign(backwards.sum()) == (-1 if near else 1)
    loiterer = actors["loiterer"]
    inside = loiterer.path.at(59.0)[0] - loiterer.path.at(loiterer.anomalous_from)[0]
    assert np.hypot(*inside) < 4
    fallen = actors["fallen"]
    tops = [max(s.points[:, 2].max() for s in fallen.strokes(fallen.event + t)[1]) for t in (0, 2)]
    assert tops[0] > 1.4
    assert tops[1] < 0.7
    case = actors["left_object"]
    assert np.array_equal(case.strokes(case.since)[0], case.strokes(case.until)[0])
    ball = actors["thrown_object"]
    heights = [ball.strokes(ball.event + t)[1][0].points[0, 2] for t in (0.0, 0.75, 1.6)]
    # Up from the hand at 1.25 m for 0.75 s: g / 2 * 0.75 ** 2 = 2.76 m higher, and back.
    assert heights == pytest.approx([1.25, 1.25 + 9.81 / 2 * 0.75**2, 1.25])


def test_refuses_with_a_remedy(plaza: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="which exists; expected a folder to be made"):
        generate(PlazaConfig(output=str(plaza)))
    with pytest.raises(DatasetError, match="got 161x90 pixels, expected even"):
        generate(PlazaConfig(output=str(tmp_path / "odd"), width=161, height=90))
    with pytest.raises(DatasetError, match="output=<folder>, which generates it"):
        load_dataset("plaza", tmp_path)
    (tmp_path / "plaza.yaml").write_text("format: 9\nclips: []\n")
    with pytest.raises(DatasetError, match="got format 9, expected 1"):
        load_dataset("plaza", tmp_path)
    (tmp_path / "plaza.yaml").write_text("[1, 2]\n")
    with pytest.raises(DatasetError, match="not as generated"):
        load_dataset("plaza", tmp_path)
    with pytest.raises(ValueError, match="got anomaly 'dragon', expected one of cyclist"):
        Scene.build(seed=0, seconds=2, kinds=["dragon"])


def test_an_interrupted_run_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "half"
    words = [f"output={target}", "train_clips=1", "test_clips=0", "seconds=1", "width=64"]
    monkeypatch.setattr(sys, "argv", ["plaza", *words, "height=64"])

    def full_disk(*_: object) -> bool:
        return False

    monkeypatch.setattr("tao_anomaly.datasets.plaza.generate.cv2.imwrite", full_disk)
    assert run(PlazaConfig, generate, description="", errors=(DatasetError, OSError)) == 1
    assert "is the disk full?" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
