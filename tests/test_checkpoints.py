"Killed, and started again: the end is the same."

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from conftest import begin, ended
from safetensors.torch import save_file

from trm_nbdev.engine.checkpoints import load_checkpoint, save_checkpoint
from trm_nbdev.engine.data import SudokuData
from trm_nbdev.engine.long_runs import train_resumable
from trm_nbdev.engine.plan import run_spec
from trm_nbdev.model import TRMConfig
from trm_nbdev.training import TrainConfig

CONFIG = TRMConfig(vocab_size=8, seq_len=36, hidden_size=16, heads=2, multiple=16, n=2, T=2, n_sup=4)
TRAIN_CONFIG = TrainConfig(
    steps=250, batch_size=8, lr=1e-3, warmup=20, weight_decay=0.1, exploration=0.5, evaluations=5
)


def train(folder: Path, out: Path):
    "Train with very many checkpoints, and write the weights and the learning curve."
    puzzles = SudokuData(n_train=32, n_valid=4, n_test=4).load()
    t = train_resumable(CONFIG, TRAIN_CONFIG, puzzles, seed=3, checkpoints=folder, every=0.01)
    parts = enumerate((t.model, t.averaged))
    save_file({f'{i}.{k}': v.contiguous() for i, part in parts for k, v in part.state_dict().items()}, out)
    out.with_suffix('.json').write_text(json.dumps(t.curve))


def newest(folder):
    return max((int(p.stem[5:]) for p in folder.glob('step_*.json')), default=0)


def test_killed_ten_times_it_ends_with_the_same_bits(tmp_path):
    a, b = tmp_path / 'a.safetensors', tmp_path / 'b.safetensors'
    assert ended(begin(train, tmp_path / 'a', a)) == 0
    rng, kills, folder = random.Random(0), [], tmp_path / 'b'
    while len(kills) < 10:
        p, before = begin(train, folder, b), newest(folder)
        while newest(folder) == before and p.is_alive():
            time.sleep(0.002)
        time.sleep(0.06 * rng.random())
        p.kill()
        assert ended(p) == -signal.SIGKILL, 'it ended before it could be killed: more steps are needed'
        kills.append(newest(folder))
    assert kills == sorted(kills) and kills[0] > 0  # each went on where the one before had been
    assert ended(begin(train, folder, b)) == 0
    for ending in ('.safetensors', '.json'):
        assert a.with_suffix(ending).read_bytes() == b.with_suffix(ending).read_bytes()
    assert len(list(folder.glob('step_*'))) == 4 and not list(folder.glob('.*'))  # the last two, nothing half-written


def flip_a_bit(file):
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def cut_off(file):
    file.write_bytes(file.read_bytes()[:20])


@pytest.mark.parametrize(
    'damage, name',
    [
        (flip_a_bit, 'step_30.safetensors'),
        (cut_off, 'step_30.safetensors'),
        (Path.unlink, 'step_30.safetensors'),
        (cut_off, 'step_30.json'),
    ],
)
def test_of_a_damaged_checkpoint_the_one_before_is_used(damage, name, tmp_path):
    for step in (10, 20, 30):
        save_checkpoint(tmp_path, step, {'w': torch.full((3,), float(step))}, {})
    damage(tmp_path / name)
    with pytest.warns(UserWarning, match='the checkpoint of step 30 in .* is damaged'):
        step, tensors, _ = load_checkpoint(tmp_path)
    assert step == 20 and tensors['w'].tolist() == [20.0] * 3


def test_a_checkpoint_that_was_never_finished_is_passed_over_without_a_warning(tmp_path, recwarn):
    for step in (10, 20):
        save_checkpoint(tmp_path, step, {'w': torch.zeros(3)}, {})
    (tmp_path / 'step_20.json').unlink()
    assert load_checkpoint(tmp_path)[0] == 10 and not recwarn.list


def test_a_disk_without_room_costs_checkpoints_and_not_the_training(tmp_path, monkeypatch):
    def full(*args):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr('trm_nbdev.engine.checkpoints.save_file', full)
    config = TRMConfig(vocab_size=8, seq_len=36, hidden_size=16, heads=2, multiple=16, n=1, T=1, n_sup=2)
    train_config = TrainConfig(steps=3, batch_size=4, warmup=1, weight_decay=0.1, evaluations=1)
    with pytest.warns(UserWarning, match='no checkpoint at step 1: .*No space left on device'):
        puzzles = SudokuData(n_train=8, n_valid=2, n_test=2).load()
        t = train_resumable(config, train_config, puzzles, checkpoints=tmp_path, every=0)
    assert t.step == 3 and load_checkpoint(tmp_path) is None and list(tmp_path.iterdir()) == []


def test_a_killed_rerun_loses_no_record_and_trains_none_twice(tmp_path):
    "Killed with all its children as soon as the first record is there, and once before."
    words = [
        Path(sys.executable).parent / 'trm-rerun',
        '--profile',
        'smoke',
        '--only',
        'layers',
        'ema',
        '--out',
        tmp_path,
        '--jobs',
        '2',
    ]
    runs = tmp_path / 'runs'
    for wanted in (0, 1):
        p = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        while p.poll() is None and not (runs.is_dir() if wanted == 0 else list(runs.glob('[!.]*.json'))):
            time.sleep(0.01)
        os.killpg(p.pid, signal.SIGKILL)
        p.wait()
    finished = {path.name: json.loads(path.read_text())['finished'] for path in runs.glob('[!.]*.json')}
    assert finished
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    after = {path.name: json.loads(path.read_text())['finished'] for path in runs.glob('[!.]*.json')}
    assert {name: after[name] for name in finished} == finished
    assert set(after) == {f'{run_spec("smoke", changes).id}.json' for changes in ({}, {'layers': 4, 'n': 3})}
    assert not list((tmp_path / 'checkpoints').glob('*/*'))
