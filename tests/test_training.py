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
from trm_nbdev.engine.long_runs import Recorded, can_compile, compile_network, train_resumable
from trm_nbdev.engine.plan import PROFILES, data_of, run_spec
from trm_nbdev.engine.runs import read_record, solve_tests, train_and_test
from trm_nbdev.engine.weights import load_model
from trm_nbdev.model import TRM, TRMConfig, n_parameters
from trm_nbdev.solving import think
from trm_nbdev.tokens import Stream
from trm_nbdev.training import TrainConfig, begin, to_tensors, train_step

PUZZLES = SudokuData(n_train=32, n_valid=4, n_test=4)
TINY = TRMConfig(vocab_size=8, seq_len=36, hidden_size=16, heads=2, multiple=16, n=2, T=2, dtype='float32')
TRAIN_CONFIG = TrainConfig(steps=4, batch_size=8, lr=1e-3, warmup=2, weight_decay=0.1, evaluations=1)


@pytest.mark.parametrize(
    'changes, how',
    [
        ({}, {}),
        ({}, {'growth': ((0, 1, 1), (0.3, 2, 2))}),
        ({'mixer': 'attention'}, {}),
        ({'gradient': 'one-step'}, {}),
        ({'features': 'single-z'}, {}),
        ({'answer_layers': 1, 'halting': 'q-learning'}, {}),
    ],
    ids=str,
)
def test_compiled_training_follows_the_plain_one(changes, how):
    if not can_compile(torch.device('cpu')):
        pytest.skip('no C++ compiler')
    config, recipe, stream = replace(TINY, **changes), replace(TRAIN_CONFIG, **how), Stream(PUZZLES.load().train, 8)
    plain, compiled = begin(config, recipe), begin(config, recipe)
    assert compile_network(compiled.model)
    for k in range(3):
        a, b = (train_step(t, recipe, to_tensors(stream.batch(k), t.model)).loss.item() for t in (plain, compiled))
        assert a == pytest.approx(b, rel=1e-3)


@pytest.mark.skipif(not torch.cuda.is_available(), reason='no GPU')
@pytest.mark.parametrize(
    'changes, how',
    [
        ({}, {}),
        ({'mixer': 'attention'}, {'growth': ((0, 1, 1), (0.3, 2, 2))}),
        ({'puzzle_emb_ndim': 16, 'puzzle_emb_len': 1}, {'start_noise': 0.1}),
        ({'answer_layers': 1, 'halting': 'q-learning'}, {'exploration': 0.5}),
    ],
    ids=str,
)
def test_recorded_training_follows_the_plain_one(changes, how):
    config, recipe = replace(TINY, **changes), replace(TRAIN_CONFIG, steps=12, **how)
    stream, losses = Stream(PUZZLES.load().train, 8), []
    for recorded in (None, Recorded()):
        t = begin(config, recipe)
        t.recorded = recorded
        losses.append([train_step(t, recipe, to_tensors(stream.batch(k), t.model)).loss.item() for k in range(12)])
        assert t.recorded is recorded, 'the step could not be recorded'
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)


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
    t = begin(replace(TINY, dtype='bfloat16', **changes), TRAIN_CONFIG)
    batch = to_tensors(Stream(PUZZLES.load().train, 8).batch(0), t.model)
    with Types() as types:
        for _ in range(2):
            train_step(t, TRAIN_CONFIG, batch)
        think(t.average, PUZZLES.load().valid.inputs)
    assert torch.bfloat16 in types.seen and torch.float64 not in types.seen


def test_bfloat16_learns_what_float32_learns():
    ends = {}
    for dtype in ('float32', 'bfloat16'):
        train_config = replace(TRAIN_CONFIG, steps=60, lr=3e-3)
        t = train_resumable(replace(TINY, dtype=dtype), train_config, PUZZLES.load())
        ends[dtype] = t.curve[-1]['loss']
    assert max(ends.values()) < 1.9  # knowing nothing costs log 8 = 2.08
    assert abs(ends['float32'] - ends['bfloat16']) < 0.15, ends


def test_a_loss_that_is_no_number_ends_the_training():
    with pytest.raises(FloatingPointError, match=r'at step \d+ the loss is nan, and the largest gradient nan, in '):
        train_resumable(TINY, replace(TRAIN_CONFIG, steps=60, lr=1e38), PUZZLES.load())


@pytest.mark.parametrize(
    'wrong, expected',
    [
        (dict(steps=0), 'steps is 0, expected a whole number from 1 to 1,000,000,000'),
        (dict(warmup=-5), 'warmup is -5, expected a whole number from 0'),
        (dict(lr=-1.0), 'lr is -1.0, expected a number above 0'),
        (dict(lr=float('nan')), 'lr is nan'),
        (dict(exploration=2.0), 'exploration is 2.0, expected a number from 0 to 1'),
        (
            dict(growth=3),
            'growth is 3, expected a tuple, each entry of which is a tuple of a number of at least 0 and b',
        ),
        (dict(growth=((0, 0, 1),)), r'growth is \(\(0, 0, 1\),\), expected a tuple'),
        (dict(growth=((0, 1.5, 1),)), 'and a whole number from 1 to 10,000 and a whole number from 1 to 10,000'),
        (dict(growth=((1.0, 1, 1),)), 'expected a tuple'),
        (dict(growth=((0.5, 1, 1), (0.5, 2, 2))), 'expected increasing shares, each with T and n'),
        (dict(train_n_sup=-1), 'train_n_sup is -1, expected a whole number from 0 to 10,000'),
        (dict(stop_at=99), 'stop_at is 99, expected a number from 0 to 1'),
        (dict(optimizer='sgd'), "optimizer is 'sgd', expected one of adamw, adam-atan2, muon"),
    ],
    ids=str,
)
def test_a_number_that_makes_no_sense_is_refused(wrong, expected):
    with pytest.raises(ValueError, match=expected):
        TrainConfig(**wrong)


@pytest.mark.parametrize(
    'changes, expected',
    [
        (dict(features='y', n=0, T=1), r"features 'y', expected \(\): direct prediction has no recursion"),
        (dict(features='multi-scale-z'), "features 'multi-scale-z', expected n=2 throughout"),
    ],
    ids=str,
)
def test_a_model_that_cannot_grow_is_refused_before_it_is_trained(changes, expected):
    growing = replace(TRAIN_CONFIG, growth=((0, 1, 1), (0.5, 2, 2)))
    for call in (
        lambda: begin(replace(TINY, **changes), growing),
        lambda: run_spec('smoke', changes | dict(n=changes.get('n', 2), growth=growing.growth)),
    ):
        with pytest.raises(ValueError, match=expected):
            call()
    begin(replace(TINY, features='multi-scale-z'), replace(growing, growth=((0, 1, 2), (0.5, 3, 2))))


def test_growth_changes_the_training_alone():
    growing = replace(TRAIN_CONFIG, growth=((0, 1, 1), (0.5, 3, 2)), train_n_sup=2)
    t = train_resumable(TINY, growing, PUZZLES.load())
    assert t.model.config == t.average.config == TINY and t.carry.steps.max() <= 2
    answers = think(t.average, PUZZLES.load().test.inputs)
    assert len(answers.tokens) == TINY.n_sup
    # what is trained like this step by step, with models whose T and n are changed by hand, is the same
    stream, by_hand = Stream(PUZZLES.load().train, 8), begin(TINY, growing)
    for k in range(4):
        by_hand.model.config = replace(TINY, T=1 if k < 2 else 3, n=1 if k < 2 else 2, n_sup=2)
        train_step(by_hand, TRAIN_CONFIG, to_tensors(stream.batch(k), by_hand.model))
    assert all(map(torch.equal, t.model.state_dict().values(), by_hand.model.state_dict().values()))


@pytest.mark.parametrize('identifier', [-1, 3])
def test_a_puzzle_without_an_embedding_is_refused(identifier):
    model = TRM(replace(TINY, num_puzzle_identifiers=3, puzzle_emb_ndim=16, puzzle_emb_len=1))
    inputs, labels, _ = Stream(PUZZLES.load().train, 8).batch(0)
    with pytest.raises(ValueError, match=f'identifier {identifier}, expected 0 to 2'):
        to_tensors((inputs, labels, np.full(8, identifier)), model)


def test_the_recorded_run_of_quick_solves_over_95_percent(root):
    record = read_record(run_spec('quick', {}), root / 'results' / 'quick')
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
    # quick and laptop have the same runs; on mazes and ARC-like tasks, TRM has T=2 and n=2 anyway
    assert len({spec.id for spec in specs}) == (len(PROFILES) - 1) * len(BUILT_IN) * len(VARIANTS) - 3


@pytest.mark.parametrize('benchmark', BUILT_IN)
@pytest.mark.parametrize('name', VARIANTS)
def test_every_variant_is_trained_saved_and_tested_on_every_benchmark(name, benchmark, tmp_path):
    spec = run_spec('smoke', VARIANTS[name], data=data_of('smoke', benchmark))
    record = train_and_test(spec, keep=tmp_path / 'model')
    tested, splits = record['results']['ema'], spec.data.load()
    assert tested['puzzles'] == (sum(len(t.tests) for t in splits.test_tasks) if 'ARC' in benchmark else 8)
    assert len(tested['exact_by_step']) == spec.model.n_sup and record['depth'] == spec.model.depth
    model = load_model(tmp_path / 'model')
    assert record['parameters'] == n_parameters(model)
    assert (
        solve_tests(model, spec.data, spec.train_config.batch_size)[0] == tested
    )  # the kept weights give the recorded answers
    example = record['results']['examples'][0]
    spec.data.draw_steps(*(np.array(example[k], np.uint8) for k in ('question', 'answers', 'truth')))
    plt.close('all')
