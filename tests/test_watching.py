"What a training shows while it runs: metrics.jsonl, TensorBoard, progress bars; also resumed, or with two commands."

import json
import logging
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import nbformat
import pytest
import tqdm.std
from conftest import ENV, begin, ended
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from trm_nbdev.engine import devices, long_runs, runs
from trm_nbdev.engine.data import SudokuData
from trm_nbdev.engine.plan import run_spec
from trm_nbdev.engine.runs import metrics_path
from trm_nbdev.model import TRMConfig
from trm_nbdev.training import TrainConfig


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def curve(folder, tag):
    "Step and value of each point that TensorBoard would draw."
    logging.getLogger('tensorboard').setLevel(logging.ERROR)  # it would warn of what it hides
    return [(point.step, pytest.approx(point.value)) for point in EventAccumulator(str(folder)).Reload().Scalars(tag)]


def test_two_commands_at_once_share_the_work_and_train_no_run_twice(tmp_path):
    out = tmp_path / 'out'
    words = '--profile smoke --only ema layers mlp_vs_attention --tensorboard --jobs 2 --out'.split()
    command = [Path(sys.executable).parent / 'trm-rerun', *words, out]
    both = [
        subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENV)
        for _ in range(2)
    ]
    for p in both:
        said, trouble = p.communicate()
        assert p.returncode == 0 and said.count('ok ') == 3, said + trouble
        assert '\r' not in trouble and 'Traceback' not in trouble
    ids = {run_spec('smoke', changes).id for changes in ({}, {'layers': 4, 'n': 3}, {'mixer': 'attention'})}
    trained = {folder.name: len(list(folder.glob('events.*'))) for folder in (out / 'tensorboard').iterdir()}
    assert trained == dict.fromkeys(ids, 1)  # each training begins a file of events of its own
    for name in ids:
        record, told = (
            json.loads((out / 'runs' / f'{name}.json').read_text()),
            lines(out / 'logs' / name / 'metrics.jsonl'),
        )
        points = [{k: point[k] for k in ('step', 'loss', 'valid_exact', 'valid_cells')} for point in record['curve']]
        assert [{k: now[k] for k in points[0]} for now in told if 'valid_cells' in now] == points
        for tag, key in [
            ('valid/cells', 'valid_cells'),
            ('train/loss', 'loss'),
            ('train/lr', 'lr'),
            ('train/solved', 'solved'),
            ('train/rate', 'rate'),
        ]:
            assert curve(out / 'tensorboard' / name, tag) == [(now['step'], now[key]) for now in told if key in now]
    for name in ('ema', 'layers', 'mlp_vs_attention'):
        nbformat.validate(nbformat.read(out / 'notebooks' / f'{name}.ipynb', as_version=4))
        rows, lines_of_md = ((out / f'{name}.{ending}').read_text().splitlines() for ending in ('csv', 'md'))
        assert len(lines_of_md) == len(rows) + 3  # title, empty line, rule
        with Image.open(out / f'{name}_bars.png') as image:
            image.load()
    assert not [p for p in out.rglob('*') if '.tmp' in p.name or '.failed' in p.name]


def run_with_curves(out: Path):
    "A run with a checkpoint after every step, and with TensorBoard's curves."
    os.environ['TRM_TENSORBOARD'] = '1'
    runs.train_resumable = partial(runs.train_resumable, every=0)
    runs.run(run_spec('smoke', dict(steps=400, evaluations=10)), out)


def test_a_resumed_run_goes_on_with_its_curves(tmp_path):
    spec = run_spec('smoke', dict(steps=400, evaluations=10))
    path, p = metrics_path(spec, tmp_path), begin(run_with_curves, tmp_path)
    while p.is_alive() and not (path.is_file() and len(path.read_text().splitlines()) >= 3):
        time.sleep(0.005)
    p.kill()
    assert ended(p) == -signal.SIGKILL, 'it ended before it could be killed: more steps are needed'
    assert ended(begin(run_with_curves, tmp_path)) == 0
    told, folder = lines(path), tmp_path / 'tensorboard' / spec.id
    assert [now['step'] for now in told] == list(range(20, 401, 20))
    assert [now['seconds'] for now in told] == sorted(now['seconds'] for now in told)
    assert len(list(folder.glob('events.*'))) == 2
    assert curve(folder, 'train/loss') == [(now['step'], now['loss']) for now in told]


def train_into_a_log(steps: int, log: Path):
    "A training whose steps take a second each by the clock of the progress bar, and whose messages go to a file."
    now, step = 0.0, devices.step_together

    def a_second_long(*args):
        nonlocal now
        now += 1
        return step(*args)

    tqdm.std.time, devices.step_together = lambda: now, a_second_long
    config = TRMConfig(vocab_size=8, seq_len=36, hidden_size=16, heads=2, multiple=16, n=1, T=1, n_sup=2)
    train_config = TrainConfig(steps=steps, batch_size=8, warmup=1, weight_decay=0.1, evaluations=1)
    with log.open('w') as sys.stderr:
        long_runs.train_resumable(config, train_config, SudokuData(n_train=8, n_valid=2, n_test=2).load())


@pytest.mark.parametrize('steps, shares', [(100, ['30%', '60%', '90%', '100%']), (25, [])])
def test_a_log_file_gets_a_line_every_half_minute(tmp_path, steps, shares):
    assert ended(begin(train_into_a_log, steps, tmp_path / 'log')) == 0
    text = (tmp_path / 'log').read_bytes().decode()
    assert '\r' not in text and [line.split('|')[0].split() for line in text.splitlines()] == [
        ['training:', share] for share in shares
    ]
    assert all('loss=' in line for line in text.splitlines())
