"What needs a compiler or time that a chapter does not have."
from dataclasses import replace

import pytest
import torch

from trm_nbdev.baselines import VARIANTS
from trm_nbdev.model import TRM, TRMConfig, n_parameters
from trm_nbdev.puzzles import Stream
from trm_nbdev.runs import PROFILES, SudokuData, model_path, read_record, run_spec, train_and_test
from trm_nbdev.solving import solved_puzzles, think
from trm_nbdev.training import TrainConfig, begin, can_compile, compile_network, to_tensors, train, train_step

PUZZLES = SudokuData(n_train=32, n_valid=4, n_test=4)
TINY = TRMConfig(vocab_size=8, seq_len=36, hidden_size=16, heads=2, multiple=16, n=2, T=2, dtype='float32')
HOW = TrainConfig(steps=4, batch_size=8, lr=1e-3, warmup=2, weight_decay=.1, evaluations=1)


@pytest.mark.parametrize('changes', [{}, {'mixer': 'attention'}, {'gradient': 'one-step'}, {'features': 'single-z'}, {'answer_layers': 1, 'halting': 'q-learning'}], ids=str)
def test_compiled_training_follows_the_plain_one(changes):
    if not can_compile(torch.device('cpu')): pytest.skip('no C++ compiler')
    config, stream = replace(TINY, **changes), Stream(PUZZLES.load().train, 8)
    plain, compiled = begin(config, HOW), begin(config, HOW)
    assert compile_network(compiled.model)
    for k in range(3):
        a, b = (train_step(t, HOW, to_tensors(stream.batch(k), t.model)).loss.item() for t in (plain, compiled))
        assert a == pytest.approx(b, rel=1e-3)


def test_bfloat16_learns_what_float32_learns():
    ends = {}
    for dtype in ('float32', 'bfloat16'):
        t = train(replace(TINY, dtype=dtype), replace(HOW, steps=60, lr=3e-3, evaluations=1), PUZZLES.load(), seed=0)
        ends[dtype] = t.curve[-1]['loss']
    assert max(ends.values()) < 1.9 and abs(ends['float32'] - ends['bfloat16']) < .15, ends  # knowing nothing costs log 8 = 2.08


def test_a_loss_that_is_no_number_ends_the_training():
    with pytest.raises(FloatingPointError, match=r'the loss is nan at step'):
        train(TINY, replace(HOW, steps=60, lr=float('inf')), PUZZLES.load())


def test_the_recorded_run_of_twice_the_quick_budget_solves_over_95_percent(root):
    record = read_record(run_spec('quick', dict(steps=2*PROFILES['quick'].how.steps)), root/'results'/'quick')
    assert record is not None, 'train it: run(run_spec("quick", dict(steps=2000)), Path("results/quick"))'
    tested = record['results']['ema']
    assert tested['exact'] > .95 and tested['puzzles'] >= 1000
    assert record['parameters'] == n_parameters(TRM(run_spec('quick', {}).model)) <= 150_000


def test_every_variant_fits_every_profile():
    assert len({run_spec(profile, changes).id for profile in PROFILES for changes in VARIANTS.values()}) == len(PROFILES)*len(VARIANTS)


@pytest.mark.parametrize('name', VARIANTS)
def test_every_variant_is_trained_saved_and_tested(name, tmp_path):
    spec = run_spec('smoke', VARIANTS[name])
    record = train_and_test(spec, keep=tmp_path/'model')
    assert record['results']['ema']['puzzles'] == 8 and len(record['results']['ema']['exact_by_step']) == spec.model.n_sup
    assert record['parameters'] == n_parameters(TRM.from_pretrained(tmp_path/'model')) and record['depth'] == spec.model.depth


def test_the_committed_model_solves_alike_in_bfloat16_and_float32(root):
    "A part of what the notebook on precision counts; it is TRM after the quick profile's training."
    spec, where = run_spec('quick', {}), root/'results'/'quick'
    record, model, test = read_record(spec, where), TRM.from_pretrained(model_path(spec, where)), spec.data.load().test.subset(slice(0, 200))
    solved = {}
    for dtype in ('bfloat16', 'float32'):
        other = TRM(replace(model.config, dtype=dtype))
        other.load_state_dict(model.state_dict())
        solved[dtype] = solved_puzzles(think(other, test.inputs, steps=8).tokens[-1], test.labels)
    assert abs(solved['bfloat16'].mean() - solved['float32'].mean()) <= .01, solved
    assert solved['bfloat16'].mean() == pytest.approx(record['results']['ema']['exact_by_step'][7], abs=.1)
