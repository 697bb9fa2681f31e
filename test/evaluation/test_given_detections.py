"""Detections of elsewhere in text files: the same metrics, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tao_anomaly.metrics import region_track
from tao_anomaly.report import ReportConfig
from tao_anomaly.report import write_report as write_page


def test_detections_evaluated_alone_give_the_same(
    rows_of, results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = results / "all"
    region_track.main(
        [str(folder / "ground_truth"), str(folder / "detections"), "--num-frames", "20"]
    )
    alone = json.loads(capsys.readouterr().out)
    found = rows_of(results)["cues (this model)"]
    assert alone == {name: found[name] for name in alone}
    assert set(alone) == {"rbdc", "tbdc", "regions", "tracks", "frames"}


def test_detections_of_elsewhere_get_the_same_metrics(
    rows_of, run, words, results: Path, tmp_path: Path
) -> None:
    given = results / "all" / "detections"
    threshold = json.loads((results / "all.json").read_text("utf-8"))["protocol"]
    value = threshold["Scale and threshold"].partition("threshold ")[2].split()[0]
    status, _, err = run(
        *words, f"detections={given}", f"output={tmp_path}", "name=again", f"threshold={value}"
    )
    assert status == 0, err
    again, before = rows_of(tmp_path, "again"), rows_of(results)
    own = before["cues (this model)"]
    for key in ("rbdc", "tbdc", "frame", "pixel", "pixel_tao"):
        assert again["detections"][key] == own[key]
    assert (
        again["detections"]["operating_point"]["region_f1"] == own["operating_point"]["region_f1"]
    )
    assert again["detections"]["operating_point"]["track_f1"] is None  # the files name no tracks
    assert again["class rule"] == before["class rule"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("4,10,5,19,14,nan", "ride.txt, line 2: the score must be finite"),
        ("4,10,5,19,14", "ride.txt, line 2: expected 6 numbers"),
        ("10,10,5,19,14,1", "ride.txt, line 2: the clip has 10 frames"),
        ("4.5,10,5,19,14,1", "ride.txt, line 2: the frame must be a whole number"),
        ("4,19,5,10,14,1", "ride.txt, line 2: a box needs x1 <= x2"),
    ],
)
def test_malformed_detections_are_refused_by_file_and_line(
    run, words, tmp_path: Path, text: str, problem: str
) -> None:
    given = tmp_path / "given"
    given.mkdir()
    (given / "ride.txt").write_text(f"9,0,0,5,5,0.5\n{text}\n0,0,0,5,5,0.5\n")
    status, _, err = run(*words, f"detections={given}", f"output={tmp_path}")
    assert status == 1
    assert problem in err
    assert not (tmp_path / "custom_given.json").exists()


def test_odd_but_lawful_detections_are_evaluated(rows_of, run, words, tmp_path: Path) -> None:
    given = tmp_path / "given"
    given.mkdir()
    # Unsorted, twice the same, outside the image, and no file for the other clip.
    (given / "ride.txt").write_text("7,-9,5,19,14,2\n4,10,5,19,14,1\n4,10,5,19,14,1\n")
    status, _, err = run(*words[:2], f"detections={given}", f"output={tmp_path}", "name=odd")
    assert status == 0, err
    rows = rows_of(tmp_path, "odd")
    assert list(rows) == ["given"]  # without a store there is no baseline
    assert rows["given"]["rbdc"] == 0.5
    assert rows["given"]["operating_point"] is None
    assert (given / "ride.txt").read_text().startswith("7,-9")


def test_empty_detections_score_nothing(rows_of, run, words, tmp_path: Path) -> None:
    given = tmp_path / "given"
    given.mkdir()
    (given / "ride.txt").write_text("")
    assert run(*words[:2], f"detections={given}", f"output={tmp_path}", "name=none")[0] == 0
    found = rows_of(tmp_path, "none")["given"]
    assert (found["rbdc"], found["tbdc"], found["frame"]["micro_auc"]) == (0, 0, 0.5)


def test_a_file_of_no_clip_is_refused(run, words, tmp_path: Path) -> None:
    given = tmp_path / "given"
    given.mkdir()
    (given / "rid.txt").write_text("")
    status, _, err = run(*words, f"detections={given}", f"output={tmp_path}")
    assert status == 1
    assert "got rid" in err
    assert "ride, walk" in err


def test_regions_without_masks_leave_the_pixel_metrics_open(
    rows_of, run, bench, tmp_path: Path
) -> None:
    (tmp_path / "ride.txt").write_text("".join(f"1,{i},10,5,19,14\n" for i in range(4, 8)))
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "ride.txt").write_text("5,10,5,19,14,1\n")
    (tmp_path / "boxes.yaml").write_text(
        f"rate: 10\ntest: [{{source: {bench.root.parent / 'ride'}, tracks: ride.txt}}]\n"
    )
    words = ("dataset=custom", f"root={tmp_path / 'boxes.yaml'}", f"output={tmp_path}")
    status, _, err = run(*words, f"detections={tmp_path / 'given'}", "name=boxes")
    assert status == 0, err
    found = rows_of(tmp_path, "boxes")["given"]
    assert (found["rbdc"], found["tbdc"]) == (0.25, 1.0)
    assert found["pixel"] is None
    assert "No row has one." in (tmp_path / "boxes.md").read_text("utf-8")


def test_a_report_of_given_detections_has_curves_alone(run, words, tmp_path: Path) -> None:
    given = tmp_path / "given"
    given.mkdir()
    (given / "ride.txt").write_text("4,10,5,19,14,2\n")
    assert run(*words[:2], f"detections={given}", f"output={tmp_path}", "name=one")[0] == 0
    page = write_page(ReportConfig(source=str(tmp_path / "one"), output=str(tmp_path / "p.html")))
    shown = json.loads(page.read_text("utf-8").split('id="data">')[1].split("</script>")[0])
    assert (shown["events"], shown["tracks"], shown["tail"]) == ([], [], None)
    assert shown["rows"][0]["metrics"]["rbdc"] == 0.25
