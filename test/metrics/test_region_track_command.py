from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tao_anomaly.metrics.region_track import main

REPOSITORY = Path(__file__).resolve().parents[2]


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tao_anomaly.metrics.region_track", *map(str, arguments)]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)


def test_the_command_prints_one_json_object(shared):
    case = shared / "golden" / "rbdc_tbdc" / "13_ties_tp_first"
    done = run(case / "tracks", case / "anomalies", "--num-frames", 20, "--ties", "file_order")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {
        "rbdc": 1.0,
        "tbdc": 1.0,
        "regions": 10,
        "tracks": 1,
        "frames": 20,
    }


def test_ties_are_grouped_by_default(shared, capsys):
    case = shared / "golden" / "rbdc_tbdc" / "13_ties_tp_first"
    main([str(case / "tracks"), str(case / "anomalies"), "--num-frames", "20"])
    assert json.loads(capsys.readouterr().out)["rbdc"] == 0.5


def test_no_torch_and_no_ros_is_imported():
    code = (
        "import sys\n"
        "import tao_anomaly.metrics.region_track, tao_anomaly.metrics.pixel\n"
        "import tao_anomaly.metrics.frame, tao_anomaly.metrics.tao_pixel\n"
        "import tao_anomaly.metrics.operating_point\n"
        "print({'torch', 'rclpy', 'cv2', 'ultralytics', 'sklearn'} & set(sys.modules))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"


@pytest.fixture
def directories(tmp_path):
    tracks, detections = tmp_path / "tracks", tmp_path / "detections"
    tracks.mkdir()
    detections.mkdir()
    (tracks / "a.txt").write_text("0,5,10,10,19,19\n")
    (detections / "a.txt").write_text("5,10,10,19,19,0.9\n")
    return tracks, detections


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("5,10,10,19,19,nan", "a.txt, line 2: the score must be finite, got nan"),
        (
            "20,10,10,19,19,1",
            "a.txt, line 2: the clip has 20 frames, numbered from 0, got frame 20",
        ),
        ("5,19,10,10,19,1", "a.txt, line 2: a box needs x1 <= x2"),
        ("5;10;10", "a.txt, line 2: expected 6 numbers frame,x1,y1,x2,y2,score, got '5;10;10'"),
    ],
)
def test_a_malformed_row_is_refused_with_file_and_line(directories, row, message, capsys):
    tracks, detections = directories
    (detections / "a.txt").write_text(f"5,10,10,19,19,0.9\n{row}\n")
    with pytest.raises(SystemExit) as stop:
        main([str(tracks), str(detections), "--num-frames", "20"])
    assert stop.value.code == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""


def test_missing_and_empty_directories_are_named(directories, tmp_path, capsys):
    tracks, detections = directories
    (tmp_path / "empty").mkdir()
    for arguments, message in (
        ((tmp_path / "none", detections), f"ground truth: no directory {tmp_path / 'none'}"),
        ((tracks, tmp_path / "none"), f"detections: no directory {tmp_path / 'none'}"),
        ((tmp_path / "empty", detections), f"ground truth: no .txt file in {tmp_path / 'empty'}"),
        ((tracks, tmp_path / "empty"), f"detections: no .txt file in {tmp_path / 'empty'}"),
    ):
        with pytest.raises(SystemExit):
            main([*map(str, arguments), "--num-frames", "20"])
        assert message in capsys.readouterr().err


def test_ground_truth_without_a_region_is_an_error(directories, capsys):
    tracks, detections = directories
    (tracks / "a.txt").write_text("")
    with pytest.raises(SystemExit):
        main([str(tracks), str(detections), "--num-frames", "20"])
    assert "no video has a ground-truth region" in capsys.readouterr().err
