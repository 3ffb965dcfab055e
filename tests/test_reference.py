"""The models, the training step and the optimisers compute what was recorded.

Six recordings of the reference implementation lie beside the checkout; those in tests/recordings are of this package itself
(`python tools/recordings.py` makes them anew, after a change that is meant to change numbers).
"""
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import ROOT
from safetensors.torch import save_file

from trm_nbdev.model import TRM
from trm_nbdev.reference import config_of, load_released, main, read_recording, read_weights, to_released

REFERENCE = ROOT.parent/'shared'/'reference'
SIX = ['trm_att', 'trm_mlp', 'trm_single_z', 'trm_multi_scale_z', 'hrm', 'direct_pred']
OWN = sorted((ROOT/'tests'/'recordings').glob('*.safetensors'))


def theirs(name: str) -> Path:
    path = REFERENCE/f'{name}.safetensors'
    if not path.is_file(): pytest.skip('the recordings of the reference lie beside the checkout, in shared/reference, and are not there')
    return path


@pytest.mark.parametrize('name', SIX)
def test_the_reference_is_replayed(name, capsys):
    assert main([str(theirs(name))]) == 0
    said = capsys.readouterr().out
    assert said.count(' ok') == 8 and 'not compared' not in said, said


def test_there_is_an_own_recording_of_every_kind_of_model():
    assert len(OWN) >= 12


@pytest.mark.parametrize('path', OWN, ids=lambda p: p.stem)
def test_own_recordings_are_replayed(path, capsys):
    assert main([str(path)]) == 0, capsys.readouterr().out


def test_the_command_says_what_differs_and_exits_1(tmp_path):
    tensors, settings = read_recording(OWN[0])
    tensors['step0.grad.inner.lm_head.weight'][0, 0] += 1e-6
    save_file(tensors, tmp_path/'spoilt.safetensors', metadata={'config': json.dumps(settings)})
    done = run(str(OWN[0]), str(tmp_path/'spoilt.safetensors'))
    assert done.returncode == 1, done
    assert 'DIFFERS' in done.stdout and 'the worst is step0.grad.inner.lm_head.weight' in done.stdout


@pytest.mark.parametrize(('content', 'why'), [(None, 'No such file'), (b'nonsense', 'is no recording'), (b'', 'is no recording')])
def test_what_is_no_recording_exits_2(tmp_path, content, why):
    path = tmp_path/'file.safetensors'
    if content is not None: path.write_bytes(content)
    done = run(str(path))
    assert done.returncode == 2 and done.stderr.startswith('trm-parity: ') and why in done.stderr and 'Traceback' not in done.stderr, done


def run(*args: str) -> subprocess.CompletedProcess:
    return subprocess.run([Path(sys.executable).with_name('trm-parity'), *args], capture_output=True, text=True, env=os.environ | {'OMP_NUM_THREADS': '1'})


@pytest.mark.parametrize('name', SIX)
def test_weights_of_the_reference_go_in_and_come_out_unchanged(name, tmp_path):
    tensors, settings = read_recording(theirs(name))
    state = {k.removeprefix('init.'): w for k, w in tensors.items() if k.startswith('init.')}
    torch.save({f'_orig_mod.model.{k}': w for k, w in state.items()}, tmp_path/'step_3')    # as the released code saves its checkpoints
    model = load_released(TRM(config_of(settings, state)), read_weights(tmp_path/'step_3'))
    back = to_released(model)
    assert back.keys() == state.keys() and all(torch.equal(back[k], state[k]) for k in state)
    model.save_pretrained(tmp_path/'model')                                                 # and on, in our own form
    again = to_released(TRM.from_pretrained(tmp_path/'model'))
    assert all(torch.equal(again[k], state[k]) for k in state)
