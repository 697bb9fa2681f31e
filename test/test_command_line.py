from __future__ import annotations

import math
from dataclasses import dataclass, field

import pytest

from tao_anomaly.command_line import run
from tao_anomaly.config import PipelineConfig, WindowConfig, setting


class FootageError(ValueError):
    pass


@dataclass
class Settings:
    source: str = setting("", "what to read")
    topic: str | None = setting(None, "topic of a bag")
    rate: float | None = setting(None, "frames a second")
    limit: int = setting(0, "most images", minimum=0)
    video: bool = setting(True, "whether to write one")
    pipeline: PipelineConfig = field(default_factory=PipelineConfig)


def call(monkeypatch: pytest.MonkeyPatch, *words: str, error: Exception | None = None):
    """Return the status of a command given these words, and the settings it saw."""
    seen: list[Settings] = []

    def body(config: Settings) -> None:
        seen.append(config)
        if error:
            raise error

    monkeypatch.setattr("sys.argv", ["command", *words])
    status = run(Settings, body, description="Read footage.", errors=(FootageError,))
    return status, seen[0] if seen else None


def test_defaults_are_those_of_the_dataclasses(monkeypatch: pytest.MonkeyPatch) -> None:
    status, config = call(monkeypatch)
    assert status == 0
    assert config.pipeline.windows == WindowConfig()
    assert isinstance(config.pipeline, PipelineConfig)
    assert math.isnan(config.pipeline.scorer.threshold)


def test_words_set_values_at_any_depth(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["limit=7", "rate=12.5", "video=false", "pipeline.windows.hop=4", "source=a.mp4"]
    status, config = call(monkeypatch, *words, "pipeline.scorer.threshold=2")
    assert status == 0
    assert (config.limit, config.rate, config.video, config.source) == (7, 12.5, False, "a.mp4")
    assert config.pipeline.windows.hop == 4
    assert config.pipeline.windows.length == WindowConfig().length
    assert config.pipeline.scorer.threshold == 2.0
    assert call(monkeypatch, "rate=3", "rate=null")[1].rate is None


@pytest.mark.parametrize(
    "text",
    [
        "2024_01_01",
        "007",
        "12:30",
        "1e3",
        "true",
        "null",
        "[cam].mp4",
        "a: b",
        "#1",
        "a=b",
        "~",
        "x y",
    ],
)
def test_text_is_taken_as_it_stands(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """YAML would make numbers, lists and times of names of files."""
    assert call(monkeypatch, f"source={text}")[1].source == text
    wanted = None if text == "null" else text
    assert call(monkeypatch, f"topic={text}")[1].topic == wanted


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("speed=3", "Key 'speed' not in 'Settings'"),
        ("pipeline.windows.hops=3", "Key 'hops' not in 'WindowConfig'"),
        ("pipeline=3", "int is not a subclass of PipelineConfig"),
        ("limit=many", "limit: Value 'many' of type 'str' could not be converted to Integer"),
        ("limit=[1", "limit: got '[1', expected a YAML value"),
        ("limit=-1", "Settings.limit: got -1, expected at least 0"),
        ("pipeline.windows.hop=0", "WindowConfig.hop: got 0, expected at least 1"),
        ("pipeline.detector.backend=magic", "got 'magic', expected one of auto"),
        ("limit", "got 'limit', expected key=value"),
        ("--verbose", "got '--verbose', expected key=value"),
    ],
)
def test_a_wrong_word_is_named_and_gives_status_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], word: str, message: str
) -> None:
    assert call(monkeypatch, word) == (2, None)
    told = capsys.readouterr().err
    assert message in told
    assert told.startswith("error: ")
    assert told.endswith("; --help lists the settings\n")
    assert told.count("\n") == 1


def test_help_lists_settings_defaults_and_descriptions(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for word in ("-h", "--help"):
        assert call(monkeypatch, word, "limit=many") == (0, None)
        told = capsys.readouterr().out
        assert told.startswith("Read footage.")
        assert "  source=''  what to read\n" in told
        assert "  rate=null  frames a second\n" in told
        assert "  pipeline.windows.length=16  observations T in a window\n" in told


def test_expected_errors_are_told_and_others_are_raised(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, error=FootageError("a.mp4: not found"))[0] == 1
    assert capsys.readouterr().err == "error: a.mp4: not found\n"
    with pytest.raises(ZeroDivisionError):
        call(monkeypatch, error=ZeroDivisionError())


def test_ctrl_c_is_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    assert call(monkeypatch, error=KeyboardInterrupt())[0] == 130
