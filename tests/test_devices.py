"Several processes train what one process would have trained, and a lost one costs no more than time."

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from conftest import ENV, rerun
from safetensors.torch import load_file

from trm_nbdev.engine.checkpoints import kept_steps

FIVE_STEPS = """
import sys
from dataclasses import replace

import numpy as np
import torch
from safetensors.torch import save_file
from torch.nn.utils import parameters_to_vector

from trm_nbdev.engine.devices import averaged, begin_together, gather, process_group, rank
from trm_nbdev.engine.devices import step_together, think_together
from trm_nbdev.engine.long_runs import averaged_weights
from trm_nbdev.model import TRMConfig
from trm_nbdev.tokens import PuzzleSet, Stream
from trm_nbdev.training import TrainConfig

BASE = TRMConfig(vocab_size=6, seq_len=16, hidden_size=16, heads=2, multiple=16, n=2, T=2, n_sup=4, dtype='float64')
NAMED = dict(num_puzzle_identifiers=9, puzzle_emb_ndim=16, puzzle_emb_len=1)
HRM = dict(mixer='attention', answer_layers=2, gradient='one-step', halting='q-learning')
GROWTH = dict(growth=((0, 1, 1), (.4, 3, 2)), train_n_sup=2)
MODELS = {'TRM-MLP': {}, 'growing': GROWTH, 'puzzles': NAMED, 'HRM': NAMED | HRM}
TRAIN_CONFIG = TrainConfig(steps=5, batch_size=12, lr=1e-2, warmup=2, weight_decay=.1, exploration=.5)
rng = np.random.default_rng(0)
tokens = rng.integers(1, 6, (2, 60, 16)).astype(np.uint8)
PUZZLES = PuzzleSet('noise', *tokens, (4, 4), 6, identifiers=rng.integers(0, 9, 60))


def results(changes):
    recipe = replace(TRAIN_CONFIG, **{k: v for k, v in changes.items() if k in GROWTH})
    t = begin_together(replace(BASE, **{k: v for k, v in changes.items() if k not in GROWTH}), recipe, seed=1)
    stream, losses = Stream(PUZZLES, recipe.batch_size), []
    torch.manual_seed(0)
    torch.nn.init.normal_(t.model.q_head.weight)  # now some puzzles are finished early, unless exploration forbids it
    for k in range(recipe.steps):
        losses.append(averaged(step_together(t, recipe, stream.batch(k)).loss))
    found = {'losses': torch.stack(losses), 'taken': gather(t.carry.steps), 'named': gather(t.carry.identifiers)}
    for name, model in (('model', t.model), ('average', t.average)):
        found |= {f'{name}.{k}': v.detach() for k, v in model.state_dict().items()}
        found[f'{name}.all'] = gather(parameters_to_vector(model.parameters()).detach()[None])
    with averaged_weights(t) as model:
        for N in (1, 8, 21):
            a = think_together(model, PUZZLES.inputs[:N], PUZZLES.identifiers[:N], batch_size=8)
            found |= {f'answers.{N}': torch.from_numpy(a.tokens.copy()), f'q.{N}': torch.from_numpy(a.q.copy())}
    return found


def everything():
    return {f'{name} {k}': v.clone() for name, changes in MODELS.items() for k, v in results(changes).items()}


if __name__ == '__main__':
    with process_group():
        found = everything()
        if rank() == 0:
            save_file(found, sys.argv[1])
"""


def torchrun(n, *words):
    "A program in n processes, at work."
    words = [
        sys.executable,
        '-m',
        'torch.distributed.run',
        '--standalone',
        '--nproc-per-node',
        str(n),
        *map(str, words),
    ]
    return subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENV | {'TQDM_DISABLE': '1'}
    )


@pytest.fixture(scope='module')
def five_steps(tmp_path_factory):
    "What one process finds, and what two find."
    folder, one = tmp_path_factory.mktemp('steps'), {'__name__': 'one'}
    (folder / 'five_steps.py').write_text(FIVE_STEPS)
    p = torchrun(2, folder / 'five_steps.py', folder / 'two.safetensors')
    exec(FIVE_STEPS, one)
    found = one['everything']()
    _, err = p.communicate()
    assert p.returncode == 0, err
    return found, load_file(folder / 'two.safetensors')


@pytest.mark.parametrize('name', ['TRM-MLP', 'growing', 'puzzles', 'HRM'])
def test_two_processes_make_the_steps_of_one(five_steps, name):
    one, two = (
        {k.removeprefix(f'{name} '): v for k, v in found.items() if k.startswith(f'{name} ')} for found in five_steps
    )
    assert len(set(one['taken'].tolist())) > 1  # some puzzles were finished, others were not
    for k, v in one.items():
        if k.endswith('.all'):
            assert torch.equal(two[k][0], two[k][1])  # the same bits in both processes
        elif v.is_floating_point():
            torch.testing.assert_close(two[k], v, rtol=0, atol=1e-6, msg=lambda m, k=k: f'{k}: {m}')
        else:
            assert torch.equal(two[k], v), k
    assert name in ('TRM-MLP', 'growing') or one['model.embed.puzzles.weight'].any(1).sum() > 1


TRAIN = """
import os
import sys
from pathlib import Path

from safetensors.torch import save_file

from trm_nbdev.engine.data import SudokuData
from trm_nbdev.engine.devices import process_group, rank
from trm_nbdev.engine.long_runs import train_resumable
from trm_nbdev.model import TRMConfig
from trm_nbdev.training import TrainConfig

config = TRMConfig(vocab_size=8, seq_len=36, hidden_size=16, heads=2, multiple=16, n=2, T=2, n_sup=4, dtype='float32')
train_config = TrainConfig(steps=60, batch_size=12, lr=1e-3, warmup=20, weight_decay=.1, exploration=.5, evaluations=3)
puzzles = SudokuData(n_train=32, n_valid=5, n_test=4).load()
folder, out = map(Path, sys.argv[1:])
with process_group():
    folder.with_suffix(f'.{rank()}').write_text(str(os.getpid()))
    t = train_resumable(config, train_config, puzzles, seed=3, checkpoints=folder, every=.01)
    if rank() == 0:
        parts = enumerate((t.model, t.averaged))
        save_file({f'{i}.{k}': v.contiguous() for i, part in parts for k, v in part.state_dict().items()}, out)
    print([{k: v for k, v in point.items() if k != 'core_seconds'} for point in t.curve])
"""


def test_a_lost_process_ends_the_run_with_advice_that_is_good(tmp_path, monkeypatch):
    "With three processes, because two sum in any order to the same bits. The one that writes checkpoints is killed."
    program, folder = tmp_path / 'train.py', tmp_path / 'b'
    program.write_text(TRAIN)
    whole = torchrun(3, program, tmp_path / 'a', tmp_path / 'a.safetensors')
    curve, err = whole.communicate()
    assert whole.returncode == 0 and curve.count('valid_exact') == 3, err

    p = torchrun(3, program, folder, tmp_path / 'b.safetensors')
    while p.poll() is None and not kept_steps(folder):
        time.sleep(0.002)
    os.kill(int(folder.with_suffix('.0').read_text()), signal.SIGKILL)
    _, err = p.communicate()
    step = kept_steps(folder)[0]
    assert p.returncode == 1 and 0 < step < 60
    assert (
        'a process of this training was lost at step' in err
        and f'start the same command again, it goes on from the checkpoint of step {step}' in err
    ), err

    alone = tmp_path / 'alone'  # the checkpoint is that of a single process, too
    alone.mkdir()
    for file in folder.iterdir():
        (alone / file.name).write_bytes(file.read_bytes())
    monkeypatch.setattr(sys, 'argv', ['train.py', str(alone), str(tmp_path / 'c.safetensors')])
    exec(TRAIN, {})
    assert (tmp_path / 'c.safetensors').is_file() and kept_steps(alone)[0] > step

    again = torchrun(3, program, folder, tmp_path / 'b.safetensors')
    assert again.communicate()[0] == curve
    assert (tmp_path / 'a.safetensors').read_bytes() == (tmp_path / 'b.safetensors').read_bytes()


STUCK = """
import ctypes
import sys
from pathlib import Path

from trm_nbdev.engine.devices import on_lost_process, process_group

lock = ctypes.create_string_buffer(128)
with process_group(), on_lost_process(lambda: 'how to go on'):
    Path(sys.argv[1]).touch()
    for _ in range(2):
        ctypes.CDLL(None).pthread_mutex_lock(lock)  # a lock of C that is never released
"""


@pytest.mark.skipif(sys.platform == 'win32', reason='there are no signals and no pthreads')
def test_a_process_that_hangs_still_prints_the_message(tmp_path):
    "As it does on a GPU that waits for one that is gone."
    (tmp_path / 'stuck.py').write_text(STUCK)
    p = torchrun(1, tmp_path / 'stuck.py', tmp_path / 'ready')
    while p.poll() is None and not (tmp_path / 'ready').is_file():
        time.sleep(0.01)
    time.sleep(0.2)
    p.send_signal(signal.SIGTERM)  # torchrun passes it on
    assert 'how to go on' in p.communicate()[1] and p.returncode != 0


def test_trm_rerun_under_torchrun_leaves_one_record_that_is_found_again(tmp_path):
    words = ['--run', 'w/ ACT', 'n=2', '--benchmark', 'ARC-AGI-1', '--profile', 'smoke', '--out', tmp_path / 'out']
    p = torchrun(2, '--no-python', '--', Path(sys.executable).parent / 'trm-rerun', *words)
    out, err = p.communicate()
    assert p.returncode == 0, err
    (path,) = (tmp_path / 'out' / 'runs').glob('*.json')
    record = json.loads(path.read_text())
    assert record['ranks'] == 2 and record['model']['halting'] == 'q-learning' and record['model']['n'] == 2
    assert out.count('test puzzles') == 1 and out.startswith(record['id']) and out.rstrip().endswith(str(path))
    assert (
        len((tmp_path / 'out' / 'logs' / record['id'] / 'metrics.jsonl').read_text().splitlines()) == 2
    )  # its evaluations, written once
    assert (
        not list((tmp_path / 'out' / 'checkpoints').glob('*'))
        and len(list((tmp_path / 'out' / 'models').iterdir())) == 1
    )
    alone = rerun(*words, cwd=tmp_path)
    assert (
        alone.returncode == 0 and alone.stdout == out and json.loads(path.read_text())['finished'] == record['finished']
    )
