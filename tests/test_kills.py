"Killed at any moment, alone or two at a time: what is recorded in the end is what would have been recorded anyway."

import json
import time
from functools import partial
from pathlib import Path

import pytest
from conftest import begin, ended, timeless

import trm_nbdev.engine.runs as runs
from trm_nbdev.engine.plan import run_spec

SPEC = run_spec('smoke', dict(steps=40, evaluations=2))


def record_run(out: Path):
    "A whole run, with a checkpoint after every step."
    runs.train_resumable = partial(runs.train_resumable, every=0)
    runs.run(SPEC, out)


def outcome(out: Path) -> tuple:
    "What must not depend on kills: learning curve, results, and weights."
    record = json.loads(runs.record_path(SPEC, out).read_text())
    return timeless(record['curve']), record['results'], (runs.model_path(SPEC, out) / 'model.safetensors').read_bytes()


@pytest.mark.storm
def test_whatever_is_killed_the_record_is_the_same(tmp_path, storm_cases):
    "Two processes make the same run; one of them, chosen at random, is killed and started again, some times."
    assert ended(begin(record_run, tmp_path / 'first')) == 0  # imports the package, prepares the puzzles
    began = time.perf_counter()
    assert ended(begin(record_run, tmp_path / 'whole')) == 0
    long, expected = time.perf_counter() - began, outcome(tmp_path / 'whole')
    assert outcome(tmp_path / 'first') == expected
    for k, rng in enumerate(storm_cases):
        out = tmp_path / str(k)
        both = [begin(record_run, out) for _ in range(2)]
        for _ in range(rng.randrange(1, 9)):
            time.sleep(rng.random() * long / 2)
            victim = rng.randrange(2)
            both[victim].kill()
            ended(both[victim])
            both[victim] = begin(record_run, out)
        assert [ended(p) for p in both] == [0, 0]
        assert outcome(out) == expected
        assert not list((out / 'checkpoints').glob('*'))
        left = {path.name for path in out.rglob('.*') if '.tmp' in path.name}
        assert not left, f'half-written files are left: {left}'
