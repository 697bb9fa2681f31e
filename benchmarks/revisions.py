"""Time an image takes, end to end, in this checkout and in earlier revisions, in turns.

``python benchmarks/revisions.py --train <normal clip> --source <clip>
--revision <commit>:<backend> ... --output benchmarks/results/revisions.md``

Each revision runs from a worktree of its own in a process of its own, with a model that its own
`fit` made of the normal clip (cues or, before there were any, nearest neighbours: no network). The
processes take each image in random order, one at a time. The checkout itself is ``HEAD``.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

# This checkout is measured, whatever is installed.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from tqdm import tqdm

from benchmarks.conditions import conditions, listed
from tao_anomaly.atomic_file import write_atomically
from tao_anomaly.weights import find_weights

ROOT = Path(__file__).resolve().parents[1]
WORKER = Path(__file__).with_name("timing") / "revision_worker.py"


@dataclass
class Revision:
    """A revision and its backend; process: its worker. seconds: an image, as they came."""

    commit: str
    backend: str
    process: subprocess.Popen[str]
    images: int
    seconds: list[float] = field(default_factory=list)

    def take(self, image: int) -> None:
        """Have an image processed and keep how long it took."""
        self.seconds.append(float(_asked(self.process, f"{image}\n")))


def main() -> None:
    """Measure and write the table."""
    options = _options()
    facts = conditions()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        revisions = [
            stack.enter_context(_started(number, name, folder, options))
            for number, name in enumerate(options.revision)
        ]
        order = np.random.default_rng(0)
        for image in tqdm(range(min(r.images for r in revisions)), unit="image", disable=None):
            for index in order.permutation(len(revisions)):
                revisions[index].take(image)
    text = report(revisions, facts, skip=options.warm_up)
    print(text)
    if options.output:
        write_atomically(options.output, text.encode())


def report(revisions: list[Revision], facts: dict[str, str], *, skip: int) -> str:
    """Return the table; skip: images of warm-up left out. The first revision is the measure."""
    times = [np.array(r.seconds[skip:]) * 1000 for r in revisions]
    lines = [
        "# Earlier revisions against this one",
        "",
        listed(facts),
        f"- Images: {len(times[0])} each after {skip} of warm-up, one process at a time",
        "",
        "| revision | backend | median ms | mean ms | median over the first row's | mean |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for revision, found in zip(revisions, times, strict=True):
        median, mean = np.median(found), found.mean()
        ratios = f"{median / np.median(times[0]):.2f} | {mean / times[0].mean():.2f}"
        lines.append(
            f"| {revision.commit} | {revision.backend} | {median:.1f} | {mean:.1f} | {ratios} |"
        )
    return "\n".join(lines) + "\n"


@contextmanager
def _started(
    number: int, name: str, folder: Path, options: argparse.Namespace
) -> Iterator[Revision]:
    """Fit a model of a revision and run its worker."""
    commit, _, backend = name.partition(":")
    tree, model = folder / f"tree_{number}", folder / f"model_{number}"
    with _checked_out(commit, tree) as resolved:
        environment = {**os.environ, "PYTHONPATH": str(tree)}
        detector = f"pipeline.detector.backend={backend}"
        words = ["-m", "tao_anomaly.fit", f"source={options.train}", f"output={model}", detector]
        weights = f"pipeline.detector.weights={options.weights}"
        subprocess.run([sys.executable, *words, weights], cwd=tree, env=environment, check=True)
        given = [str(model), str(options.source), options.weights, backend]
        with subprocess.Popen(
            [sys.executable, "-P", str(WORKER), *given],  # -P: its folder holds no modules
            cwd=tree,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            yield Revision(resolved, backend, process, int(_asked(process, "")))
            assert process.stdin is not None
            process.stdin.close()


@contextmanager
def _checked_out(commit: str, tree: Path) -> Iterator[str]:
    """Keep a worktree of a commit while the context lasts; gives the commit's short hash."""
    git = ["git", "-C", str(ROOT)]
    subprocess.run([*git, "worktree", "add", "--quiet", "--detach", str(tree), commit], check=True)
    try:
        words = [*git, "rev-parse", "--short=7", commit]
        yield subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()
    finally:
        subprocess.run([*git, "worktree", "remove", "--force", str(tree)], check=True)


def _asked(process: subprocess.Popen[str], line: str) -> str:
    """Write a line to a worker and return its answer; raises OSError where it has ended."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(line)
    process.stdin.flush()
    answer = process.stdout.readline()
    if not answer:
        raise OSError(f"got no answer of the worker {process.args!r}, expected a number; see above")
    return answer


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--train", type=Path, required=True, help="normal clip to fit models on")
    parser.add_argument("--source", type=Path, required=True, help="clip whose images are timed")
    parser.add_argument("--weights", default="yolov8n", help="detector weights")
    parser.add_argument(
        "--revision",
        action="append",
        required=True,
        help="<commit>:<backend>, such as HEAD:openvino; give it once for each",
    )
    parser.add_argument("--warm-up", type=int, default=15, help="images left out at the start")
    parser.add_argument("--output", type=Path, help="Markdown file")
    options = parser.parse_args()
    # Workers run elsewhere.
    options.train, options.source = options.train.resolve(), options.source.resolve()
    options.weights = str(find_weights(options.weights).resolve())
    return options


if __name__ == "__main__":
    main()
