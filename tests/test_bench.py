"The command trm-bench, at the size at which its numbers mean nothing."

import importlib
import json
import runpy
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from conftest import ROOT
from torch.func import stack_module_state

from trm_nbdev.baselines import ROWS
from trm_nbdev.engine import bench
from trm_nbdev.engine.plan import run_spec

SIZES = 'paper', 'quick', 'quick_attention'
FORMS = 'textbook', 'compiled_textbook'
KEYS = {
    'train_paper_peak_share',
    'train_quick_speedup_vs_eager',
    'train_quick_attention_speedup_vs_eager',
    'solve_puzzles_per_s',
    'solve_early_stop_speedup',
    'peak_memory_mb',
    *(f'train_{size}_samples_per_s' for size in SIZES),
    *(f'train_{size}_{form}_samples_per_s' for size in SIZES for form in FORMS),
    *(f'train_{size}_speedup_vs_{form}' for size in SIZES for form in FORMS),
}
AGAINST = {
    'train_paper_released_samples_per_s',
    'train_paper_compiled_released_samples_per_s',
    'train_paper_speedup_vs_released',
    'train_paper_speedup_vs_compiled_released',
}

# with the names, the arguments and the results of the released code, and nothing else of it
MODEL = """
import torch
from models.layers import WIDTH

class TinyRecursiveReasoningModel_ACTV1(torch.nn.Module):
    def __init__(self, config_dict):
        super().__init__()
        assert config_dict['mlp_t'] and config_dict['puzzle_emb_len'] == 4 and config_dict['H_cycles'] == 3
        self.table = torch.nn.Linear(WIDTH, config_dict['vocab_size'])

    def initial_carry(self, batch):
        return torch.zeros(len(batch['inputs']))

    def forward(self, carry, batch):
        return carry + 1, {'logits': self.table(batch['inputs'][..., None].float())}
"""
LOSSES = """
import torch

class ACTLossHead(torch.nn.Module):
    def __init__(self, model, loss_type):
        super().__init__()
        assert loss_type == 'stablemax_cross_entropy'
        self.model = model

    def initial_carry(self, *args, **kwargs):
        return self.model.initial_carry(*args, **kwargs)

    def forward(self, return_keys, **model_kwargs):
        carry, outputs = self.model(**model_kwargs)
        return carry, outputs['logits'].square().sum(), {}, None, carry.sum() > 0
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    "A stand-in for a checkout of the released code."
    folder = tmp_path / 'checkout'
    (folder / 'models' / 'recursive_reasoning').mkdir(parents=True)
    (folder / 'models' / 'layers.py').write_text('WIDTH = 1\n')
    (folder / 'models' / 'losses.py').write_text(LOSSES)
    (folder / 'models' / 'recursive_reasoning' / 'trm.py').write_text(MODEL)
    return folder


def test_bench(tmp_path, checkout, monkeypatch):
    "All numbers, flat, on a machine without a compiler; a table and a picture beside them."
    importlib.import_module('torch._inductor.config')  # reads CXX once: the tests after this one need a compiler
    monkeypatch.setenv('CXX', 'no-such-compiler')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(bench, 'usable_cores', lambda: 1)
    assert bench.main(['--size', 'smoke', '--seconds', '.01', '--out', 'out', '--against', 'checkout']) == 0
    (path,) = Path('out').glob('*.json')
    numbers = json.loads(path.read_text())
    assert KEYS | AGAINST <= numbers.keys() and numbers['size'] == 'smoke'
    assert all(numbers[k] > 0 for k in KEYS | AGAINST)
    assert not [k for k, v in numbers.items() if isinstance(v, dict | list)]
    page = path.with_suffix('.md').read_text()
    assert 'mean nothing' in page and 'compiled released' in page and path.with_suffix('.png').stat().st_size > 1000


def test_the_faster_way_is_kept():
    "Of one process and two, one goes on, and times its turns."
    config = bench.SIZES['smoke'].quick
    case = bench.Case(config, 4, compiled=False, seconds=0.01)
    with bench.faster(bench.ways(case, 2)) as contender:
        assert not contender.rates and contender.turn(0.01) > 0
        assert contender.rates and contender.memory > 0


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--seconds', '0'], '--seconds is 0.0, expected'),
        (['--size', 'huge'], "invalid choice: 'huge'"),
        (['--against', 'nowhere'], 'is no folder, expected a checkout of the released code'),
        (['--against', '.'], 'it has no models/recursive_reasoning/trm.py and no models/losses.py'),
    ],
)
def test_wrong_arguments(arguments, message, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        bench.main([*arguments, '--out', 'out'])
    said = capfd.readouterr().err
    assert ended.value.code == 2 and message in said.splitlines()[-1] and 'Traceback' not in said


@pytest.mark.parametrize(
    ('line', 'message'),
    [
        ('import no_such_package.parts', 'needs no_such_package, which is not installed: pip install no_such_package'),
        ('1 / 0', 'cannot be imported: ZeroDivisionError: division by zero'),
    ],
)
def test_released_code_that_cannot_be_imported(line, message, checkout, monkeypatch, capfd):
    with (checkout / 'models' / 'losses.py').open('a') as f:
        f.write(f'\n{line}\n')
    with pytest.raises(SystemExit) as ended:
        bench.main(['--against', str(checkout), '--out', str(checkout / 'out')])
    said = capfd.readouterr().err
    assert ended.value.code == 2 and message in said.splitlines()[-1] and 'Traceback' not in said
    assert 'models' not in sys.modules  # foreign code runs only in the processes that measure it


@pytest.mark.parametrize('slow, dtype', [(False, 'bfloat16'), (True, 'float32')])
def test_others_are_given_float32_where_bfloat16_is_slow(monkeypatch, slow, dtype):
    monkeypatch.setattr(bench, 'SLOW_BFLOAT16', slow)
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    forms = bench.field(bench.Case(run_spec('quick', {}).model), 'folder')
    others = 'textbook', 'compiled_textbook', 'released', 'compiled_released'
    assert {k: case.config.dtype for k, case in forms.items()} == {'ours': 'bfloat16'} | dict.fromkeys(others, dtype)


@pytest.mark.parametrize('mixer', ['mlp', 'attention'])
def test_a_stack_of_seeds_has_the_losses_and_gradients_of_its_seeds(mixer):
    tool = runpy.run_path(str(ROOT / 'tools' / 'stack.py'))
    config = replace(tool['SMALL'], mixer=mixer, dtype='float32', T=1, n=1)
    weights, buffers = stack_module_state([tool['model_of'](config, seed) for seed in (0, 1)])
    together, alone = (tool['loss_of'](tool['model_of'](config, 0), stacked) for stacked in (True, False))
    total = together(weights, buffers)
    total.backward()
    for seed in (0, 1):
        one = {name: w.detach()[seed : seed + 1].requires_grad_() for name, w in weights.items()}
        loss = alone(one, {name: b[seed : seed + 1] for name, b in buffers.items()})
        loss.backward()
        for name, w in one.items():
            torch.testing.assert_close(w.grad[0], weights[name].grad[seed], rtol=1e-3, atol=1e-5)
        total = total - loss
    assert abs(total) < 1e-4


def test_the_recorded_costs_of_compiling_are_those_of_the_tool(monkeypatch):
    first_steps = runpy.run_path(str(ROOT / 'tools' / 'compiling.py'))['first_steps']
    monkeypatch.setitem(first_steps.__globals__, 'compile_network', lambda model: None)
    found = pd.read_csv(ROOT / 'results' / 'bench' / 'compiling.csv').set_index('row')
    assert [*found.index] == [*dict.fromkeys([*ROWS['Table 1'], *ROWS['Table 2']])]
    made = first_steps('w/ self-attention', ROWS['Table 1']['w/ self-attention'])
    assert [*made] == ['row', *found] and made['kind'] == found.kind['w/ self-attention']
    assert min(made['first_step'], made['second_step']) > 0
