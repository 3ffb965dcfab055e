"Killed, and started again: the end is the same."

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest
import torch
from conftest import begin, ended, timeless
from safetensors import SafetensorError
from safetensors.torch import save_file

from trm_nbdev.engine import checkpoints
from trm_nbdev.engine.checkpoints import kept_steps, load_checkpoint, save_checkpoint
from trm_nbdev.engine.data import SudokuData
from trm_nbdev.engine.long_runs import Checkpointer, core_seconds, same_curve, to_checkpoint, train_resumable
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
    out.with_suffix('.json').write_text(json.dumps(timeless(t.curve)))


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


TINY = TRMConfig(vocab_size=8, seq_len=36, hidden_size=16, heads=2, multiple=16, n=1, T=1, n_sup=2)
PUZZLES = SudokuData(n_train=8, n_valid=2, n_test=2)


def train_tiny(folder, steps=6, every=0.0, log=None):
    recipe = TrainConfig(steps=steps, batch_size=4, warmup=1, weight_decay=0.1, evaluations=3)
    return train_resumable(TINY, recipe, PUZZLES.load(), checkpoints=folder, every=every, log=log)


def interrupted(folder, monkeypatch):
    "A training that ends at its last but one step, with a checkpoint after each."

    def stop(now):
        if now['step'] == 6:
            raise KeyboardInterrupt

    with monkeypatch.context() as m, pytest.raises(KeyboardInterrupt):
        m.setattr(Checkpointer, 'next', property(lambda _: 0, lambda *_: None), raising=False)  # it is always time
        train_tiny(folder, log=stop)


def a_digit_of(key):
    "Change the first digit of a number in a JSON file."
    later = lambda m: m[1] + str((int(m[2]) + 1) % 10)
    return lambda file: file.write_text(re.sub(rf'("{key}":)(\d)', later, file.read_text(), count=1))


@pytest.mark.parametrize('key', ['loss', 'valid_cells', 'samples', 'seconds', 'seed', 'hidden_size', 'step'])
def test_a_digit_changed_in_the_json_file_costs_this_checkpoint_only(key, tmp_path, monkeypatch):
    whole = train_tiny(None)
    interrupted(tmp_path, monkeypatch)
    assert kept_steps(tmp_path) == [5, 4]
    text = (tmp_path / 'step_5.json').read_text()
    a_digit_of(key)(tmp_path / 'step_5.json')
    assert (tmp_path / 'step_5.json').read_text() != text
    with pytest.warns(UserWarning, match='the checkpoint of step 5 in .* is damaged') as warned:
        again = train_tiny(tmp_path)
    assert len(warned) == 1
    assert same_curve(again.curve, whole.curve) and torch.equal(
        again.model.output_head.weight, whole.model.output_head.weight
    )


GROWING = dict(optimizer='muon', growth=((0, 1, 1), (0.3, 2, 2), (0.6, 3, 1)), train_n_sup=3)


@pytest.mark.parametrize('stop', [3, 6, 9])
def test_a_growing_training_goes_on_in_another_stage_than_it_stopped_in(stop, tmp_path, monkeypatch):
    "Stages begin at steps 0, 3 and 6; the last checkpoint is that of the step before `stop`."
    monkeypatch.setattr(Checkpointer, 'next', property(lambda _: 0, lambda *_: None), raising=False)
    recipe, puzzles = TrainConfig(steps=10, batch_size=4, lr=1e-2, warmup=1, evaluations=10, **GROWING), PUZZLES.load()
    whole = train_resumable(CONFIG, recipe, puzzles)

    def power_cut(now):
        if now['step'] == stop:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_resumable(CONFIG, recipe, puzzles, checkpoints=tmp_path, log=power_cut)
    assert kept_steps(tmp_path)[0] == stop - 1
    spent = load_checkpoint(tmp_path)[2]['core_seconds']
    again = train_resumable(CONFIG, recipe, puzzles, checkpoints=tmp_path)
    assert core_seconds(again)[0] > spent[0] > 0 == spent[1]
    assert timeless(again.curve) == timeless(whole.curve) and len(whole.curve) == 10
    (a, _), (b, _) = map(to_checkpoint, (whole, again))
    assert a.keys() == b.keys() and all(torch.equal(v, b[k]) for k, v in a.items())
    assert any('momentum_buffer' in k for k in a) and any('exp_avg' in k for k in a)


def test_a_checkpoint_under_the_name_of_another_step_is_passed_over(tmp_path):
    for step in (10, 20):
        save_checkpoint(tmp_path, step, {'w': torch.full((3,), float(step))}, {})
    for ending in ('json', 'safetensors'):
        shutil.copy(tmp_path / f'step_10.{ending}', tmp_path / f'step_40.{ending}')
    with pytest.warns(UserWarning, match='step 40 in .* is damaged .*step_40.json is that of step 10'):
        assert load_checkpoint(tmp_path)[0] == 20


def test_damaged_checkpoints_do_not_push_out_those_of_the_training_that_began_anew(tmp_path):
    for step in (90, 100):
        save_checkpoint(tmp_path, step, {'w': torch.zeros(3)}, {})
        cut_off(tmp_path / f'step_{step}.json')
    with pytest.warns(UserWarning, match='is damaged'):
        assert load_checkpoint(tmp_path) is None
    for step in (10, 20, 30):
        save_checkpoint(tmp_path, step, {'w': torch.zeros(3)}, {})
        assert load_checkpoint(tmp_path)[0] == step
    assert kept_steps(tmp_path) == [30, 20] and len(list(tmp_path.iterdir())) == 4


class Full:
    "A disk without room: what is written through `name` fails, as safetensors and Python fail there."

    def __init__(self, monkeypatch, name, error):
        self.room, place = False, f'trm_nbdev.engine.checkpoints.{name}'
        original = getattr(checkpoints, name)

        def write(*args):
            if not self.room:
                raise error
            return original(*args)

        monkeypatch.setattr(place, write)


@pytest.mark.filterwarnings('ignore:no checkpoint')
@pytest.mark.parametrize(
    'name, error',
    [
        ('save_file', SafetensorError('I/O error: No space left on device (os error 28)')),
        ('save_file', OSError(28, 'No space left on device')),
        ('sealed', OSError(28, 'No space left on device')),  # for the tensors there was room
    ],
)
def test_a_disk_without_room_costs_checkpoints_and_not_the_training(name, error, tmp_path, monkeypatch):
    disk = Full(monkeypatch, name, error)
    with pytest.warns(UserWarning, match='no checkpoint at step 1: .*No space left on device'):
        t = train_tiny(tmp_path)
    assert t.step == 6 and load_checkpoint(tmp_path) is None and list(tmp_path.iterdir()) == []
    disk.room = True
    train_tiny(tmp_path)
    assert load_checkpoint(tmp_path)[0] > 0


@pytest.mark.parametrize('size', [4, 40, 200, 400, 440, 800])  # KiB; a checkpoint takes 424
def test_a_small_disk(size, small_disk):
    place = small_disk(size)
    with warnings.catch_warnings(record=True, action='always') as warned:
        t = train_tiny(place)
    assert t.step == 6 and all('No space left on device' in str(w.message) for w in warned)
    kept = kept_steps(place)
    assert bool(kept) == (size > 424) and len(list(place.iterdir())) == 2 * len(kept)
    assert not kept or load_checkpoint(place)[0] == kept[0]


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


def test_checkpoints_of_another_training_are_passed_over_if_there_is_one_of_this(tmp_path):
    for step, who in ((10, 'mine'), (20, 'theirs')):
        save_checkpoint(tmp_path, step, {'w': torch.zeros(3)}, {'identity': who})
    assert load_checkpoint(tmp_path, 'mine')[0] == 10 and load_checkpoint(tmp_path)[0] == 20
    with pytest.raises(ValueError, match='holds checkpoints of another training .of step 20.: name another folder'):
        load_checkpoint(tmp_path, 'nobody')
