"What needs a compiler or time that a chapter does not have."

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from trm_nbdev.baselines import VARIANTS
from trm_nbdev.engine.data import BUILT_IN, SudokuData
from trm_nbdev.engine.plan import PROFILES, data_of, run_spec
from trm_nbdev.engine.runs import read_record, solve_tests, train_and_test
from trm_nbdev.model import TRM, TRMConfig, n_parameters
from trm_nbdev.tokens import Stream
from trm_nbdev.training import TrainConfig, begin, can_compile, compile_network, evaluate, to_tensors, train, train_step

PUZZLES = SudokuData(n_train=32, n_valid=4, n_test=4)
TINY = TRMConfig(vocab_size=8, seq_len=36, hidden_size=16, heads=2, multiple=16, n=2, T=2, dtype='float32')
HOW = TrainConfig(steps=4, batch_size=8, lr=1e-3, warmup=2, weight_decay=0.1, evaluations=1)


@pytest.mark.parametrize(
    'changes',
    [
        {},
        {'mixer': 'attention'},
        {'gradient': 'one-step'},
        {'features': 'single-z'},
        {'answer_layers': 1, 'halting': 'q-learning'},
    ],
    ids=str,
)
def test_compiled_training_follows_the_plain_one(changes):
    if not can_compile(torch.device('cpu')):
        pytest.skip('no C++ compiler')
    config, stream = replace(TINY, **changes), Stream(PUZZLES.load().train, 8)
    plain, compiled = begin(config, HOW), begin(config, HOW)
    assert compile_network(compiled.model)
    for k in range(3):
        a, b = (train_step(t, HOW, to_tensors(stream.batch(k), t.model)).loss.item() for t in (plain, compiled))
        assert a == pytest.approx(b, rel=1e-3)


class Types(TorchDispatchMode):
    "Notes the types of all tensors that are made on the way."

    def __init__(self):
        super().__init__()
        self.seen = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        self.seen |= {t.dtype for t in tree_leaves(out) if isinstance(t, torch.Tensor)}
        return out


@pytest.mark.parametrize(
    'changes',
    [
        {},
        VARIANTS['HRM'],
        {'features': 'single-z', 'positions': 'learned'},
        {'puzzle_emb_ndim': 16, 'puzzle_emb_len': 1},
    ],
    ids=str,
)
def test_nothing_needs_float64_which_some_gpus_do_not_have(changes):
    t = begin(replace(TINY, dtype='bfloat16', **changes), HOW)
    batch = to_tensors(Stream(PUZZLES.load().train, 8).batch(0), t.model)
    with Types() as types:
        for _ in range(2):
            train_step(t, HOW, batch)
        evaluate(t, PUZZLES.load().valid)
    assert torch.bfloat16 in types.seen and torch.float64 not in types.seen


def test_bfloat16_learns_what_float32_learns():
    ends = {}
    for dtype in ('float32', 'bfloat16'):
        t = train(replace(TINY, dtype=dtype), replace(HOW, steps=60, lr=3e-3, evaluations=1), PUZZLES.load(), seed=0)
        ends[dtype] = t.curve[-1]['loss']
    assert max(ends.values()) < 1.9 and abs(ends['float32'] - ends['bfloat16']) < 0.15, (
        ends
    )  # knowing nothing costs log 8 = 2.08


def test_a_loss_that_is_no_number_ends_the_training():
    with pytest.raises(FloatingPointError, match=r'at step \d+ the loss is nan, and the largest gradient nan, in '):
        train(TINY, replace(HOW, steps=60, lr=float('inf')), PUZZLES.load())


def test_the_recorded_run_of_twice_the_quick_budget_solves_over_95_percent(root):
    record = read_record(
        run_spec('quick', dict(steps=2 * PROFILES['quick'].train_config.steps)), root / 'results' / 'quick'
    )
    assert record is not None, 'train it: trm-rerun --only early_stop'
    tested = record['results']['ema']
    assert tested['exact'] > 0.95 and tested['puzzles'] >= 1000
    assert record['parameters'] == n_parameters(TRM(run_spec('quick', {}).model)) <= 150_000


def test_every_variant_fits_every_profile():
    specs = [
        run_spec(profile, changes, data=data_of(profile, benchmark))
        for profile in PROFILES
        for benchmark in BUILT_IN
        for changes in VARIANTS.values()
    ]
    assert len({spec.id for spec in specs}) == len(PROFILES) * len(BUILT_IN) * len(VARIANTS)


@pytest.mark.parametrize('benchmark', BUILT_IN)
@pytest.mark.parametrize('name', VARIANTS)
def test_every_variant_is_trained_saved_and_tested_on_every_benchmark(name, benchmark, tmp_path):
    spec = run_spec('smoke', VARIANTS[name], data=data_of('smoke', benchmark))
    record = train_and_test(spec, keep=tmp_path / 'model')
    tested, splits = record['results']['ema'], spec.data.load()
    assert tested['puzzles'] == (sum(len(t.tests) for t in splits.test_tasks) if 'ARC' in benchmark else 8)
    assert len(tested['exact_by_step']) == spec.model.n_sup and record['depth'] == spec.model.depth
    model = TRM.from_pretrained(tmp_path / 'model')
    assert record['parameters'] == n_parameters(model, puzzles=False)
    assert (
        solve_tests(model, spec.data, spec.train_config.batch_size)[0] == tested
    )  # the kept weights give the recorded answers
    example = record['results']['examples'][0]
    spec.data.draw_steps(*(np.array(example[k], np.uint8) for k in ('question', 'answers', 'truth')))
    plt.close('all')
