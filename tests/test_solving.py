"Stopping early where a chapter cannot show it: with compiled code, and on a model of the quick profile."

import numpy as np
import pytest
import torch

from trm_nbdev.engine.plan import PROFILES, run_spec
from trm_nbdev.model import TRM, TRMConfig
from trm_nbdev.solving import early_stop_effect, solve, solving_speed, stopped, think
from trm_nbdev.training import can_compile, compile_network


@pytest.mark.parametrize(
    'changes',
    [{}, {'mixer': 'attention', 'features': 'single-z'}, {'answer_layers': 1, 'halting': 'q-learning'}],
    ids=str,
)
def test_compiled_code_stops_early_too_and_is_compiled_once(changes):
    if not can_compile(torch.device('cpu')):
        pytest.skip('no C++ compiler')
    torch.manual_seed(0)
    model = TRM(
        TRMConfig(
            **(
                dict(vocab_size=6, seq_len=16, hidden_size=16, heads=2, multiple=16, n=2, T=2, n_sup=4, dtype='float64')
                | changes
            )
        )
    )
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


def test_a_trained_model_gives_the_same_answers_four_times_as_fast(root):
    spec = run_spec('quick', dict(steps=2 * PROFILES['quick'].train_config.steps))
    model, test = (
        TRM.from_pretrained(root / 'results' / 'quick' / 'models' / spec.id),
        spec.data.load().test.subset(slice(0, 256)),
    )
    c = early_stop_effect(think(model, test.inputs), solve(model, test.inputs), test)
    assert c['same'] >= 0.995 and c['work'] < 16 / 4, c
    assert abs(c['all steps'] - c['early stop']) <= 0.005 and c['all steps'] > 0.95, c
    speed = solving_speed(model, test, rounds=1)
    assert speed['early stop'] > 4 * speed['all steps'], speed
