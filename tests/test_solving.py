"Stopping early where a chapter cannot show it: with compiled code, and on a model of the quick profile."

import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from trm_nbdev.engine.long_runs import can_compile, compile_network
from trm_nbdev.engine.plan import run_spec
from trm_nbdev.engine.weights import load_model
from trm_nbdev.model import TRM, TRMConfig
from trm_nbdev.solving import early_stop_effect, solve, stopped, think
from trm_nbdev.training import to_tensors

TINY = TRMConfig(vocab_size=6, seq_len=16, hidden_size=16, heads=2, multiple=16, n=2, T=2, n_sup=4, dtype='float64')


@pytest.mark.parametrize(
    'wrong, expected',
    [
        (dict(inputs=np.ones((10, 15), np.uint8)), 'inputs has the shape (10, 15), expected (N, 16)'),
        (dict(inputs=np.full((10, 16), 6, np.uint8)), 'inputs has tokens from 6 to 6, expected 0 to 5'),
        (dict(identifiers=np.zeros(9, int)), 'identifiers has the shape (9,), expected (10,)'),
        (dict(steps=0), 'steps is 0, expected a whole number from 1 to 10,000'),
        (dict(batch_size=0), 'batch_size is 0, expected a whole number from 1 to 100,000'),
    ],
    ids=str,
)
def test_what_a_model_cannot_be_asked_is_refused(wrong, expected):
    model, questions = TRM(TINY), dict(inputs=np.ones((10, 16), np.uint8))
    for way in (think, solve):
        with pytest.raises(ValueError, match=re.escape(expected)):
            way(model, **questions | wrong)


def test_a_puzzle_without_an_embedding_and_a_threshold_that_is_no_number_are_refused():
    model, questions = TRM(replace(TINY, puzzle_emb_ndim=16, puzzle_emb_len=1)), np.ones((3, 16), np.uint8)
    with pytest.raises(ValueError, match='a puzzle has the identifier 1, expected 0 to 0'):
        think(model, questions, np.array([0, 1, 0]))
    with pytest.raises(ValueError, match='a puzzle has the identifier 1, expected 0 to 0'):
        to_tensors((questions, questions, np.array([0, 1, 0])), model)
    with pytest.raises(ValueError, match='threshold is nan, expected a number'):
        solve(model, questions, threshold=np.nan)


@pytest.mark.parametrize(
    'changes',
    [{}, {'mixer': 'attention', 'features': 'single-z'}, {'answer_layers': 1, 'halting': 'q-learning'}],
    ids=str,
)
def test_compiled_code_stops_early_too_and_is_compiled_once(changes):
    if not can_compile(torch.device('cpu')):
        pytest.skip('no C++ compiler')
    torch.manual_seed(0)
    model = TRM(replace(TINY, **changes))
    torch.nn.init.normal_(model.q_head.weight)
    questions = np.random.default_rng(0).integers(0, 6, (21, 16)).astype(np.uint8)
    plain = think(model, questions)
    threshold = float(np.median(plain.q))
    assert compile_network(model)
    think(model, questions, steps=1, batch_size=8)
    with torch._dynamo.config.patch(error_on_recompile=True):
        s = solve(model, questions, threshold=threshold, batch_size=8, compact=False)
    assert (s.tokens == stopped(plain, threshold).tokens).all() and (s.steps == stopped(plain, threshold).steps).all()
    assert 1 < s.steps.mean() < 4 and s.work % 8 == 0


def test_a_trained_model_gives_the_same_answers_with_a_quarter_of_the_work(root):
    spec = run_spec('quick', {})
    model, test = (
        load_model(root / 'results' / 'quick' / 'models' / spec.id),
        spec.data.load().test.subset(slice(0, 256)),
    )
    c = early_stop_effect(think(model, test.inputs), solve(model, test.inputs), test)
    assert c['same'] >= 0.995 and c['work'] < 16 / 4, c
    assert abs(c['all steps'] - c['early stop']) <= 0.005 and c['all steps'] > 0.95, c
