"""The models, the training step and the optimisers compute what was recorded.

Recordings of the reference implementation are not part of the repository: where they are missing, their tests are
skipped. Those in tests/recordings are of this package itself. `python tools/recordings.py` makes them anew, after a
change that is meant to change numbers.
"""

import json
import os
import runpy
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT
from safetensors.torch import save_file

from trm_nbdev.engine.long_runs import cxx
from trm_nbdev.engine.reference import (
    EXACT,
    config_of,
    load_released,
    main,
    part,
    read_recording,
    read_weights,
    record,
    replayed,
    settings_of,
    to_released,
)
from trm_nbdev.engine.weights import load_model, save_model
from trm_nbdev.model import TRM, TRMConfig

REFERENCE = ROOT.parent / 'shared' / 'reference'
SIX = ['trm_att', 'trm_mlp', 'trm_single_z', 'trm_multi_scale_z', 'hrm', 'direct_pred']
OWN = sorted((ROOT / 'tests' / 'recordings').glob('*.safetensors'))


def theirs(name: str) -> Path:
    path = REFERENCE / f'{name}.safetensors'
    if not path.is_file():
        pytest.skip('the recordings of the reference implementation are not here')
    return path


@pytest.mark.parametrize('name', SIX)
def test_the_reference_is_replayed(name, capsys):
    assert main([str(theirs(name))]) == 0
    said = capsys.readouterr().out
    assert said.count(' ok') == 8, said


def test_there_is_an_own_recording_of_every_kind_of_model():
    assert {path.stem for path in OWN} == set(runpy.run_path(str(ROOT / 'tools' / 'recordings.py'))['kinds'])


@pytest.mark.parametrize('path', OWN, ids=lambda p: p.stem)
def test_own_recordings_are_replayed(path, capsys):
    assert main([str(path)]) == 0, capsys.readouterr().out


@pytest.mark.skipif(cxx() is None, reason='torch.compile needs a C++ compiler')
@pytest.mark.parametrize('mixer', ['mlp', 'attention'])
def test_compiled_code_computes_the_same(mixer, capsys):
    path = next(
        p
        for p in OWN
        if (c := config_of(read_recording(p)[1], part(read_recording(p)[0], 'init.'))).mixer == mixer
        and c.features == 'y,z'
    )
    assert main([str(path), '--compiled']) == 0, capsys.readouterr().out
    assert torch._dynamo.utils.counters['stats']['unique_graphs'] > 0  # it was compiled


def test_the_command_says_what_differs_and_exits_1(tmp_path):
    tensors, settings = read_recording(OWN[0])
    tensors['step0.grad.inner.lm_head.weight'][0, 0] += 1e-6
    save_file(tensors, tmp_path / 'spoilt.safetensors', metadata={'config': json.dumps(settings)})
    done = run(str(OWN[0]), str(tmp_path / 'spoilt.safetensors'))
    assert done.returncode == 1, done
    assert 'DIFFERS' in done.stdout and 'the worst is step0.grad.inner.lm_head.weight' in done.stdout


@pytest.mark.parametrize(
    ('content', 'why'), [(None, 'No such file'), (b'nonsense', 'is not a recording'), (b'', 'is not a recording')]
)
def test_what_is_not_a_recording_exits_2(tmp_path, content, why):
    path = tmp_path / 'file.safetensors'
    if content is not None:
        path.write_bytes(content)
    done = run(str(path))
    assert (
        done.returncode == 2
        and done.stderr.startswith('trm-parity: ')
        and why in done.stderr
        and 'Traceback' not in done.stderr
    ), done


def run(*args: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [Path(sys.executable).with_name('trm-parity'), *args],
        capture_output=True,
        text=True,
        env=os.environ | {'OMP_NUM_THREADS': '1'},
    )


@pytest.mark.parametrize('name', SIX)
def test_weights_of_the_reference_go_in_and_come_out_unchanged(name, tmp_path):
    tensors, settings = read_recording(theirs(name))
    state = part(tensors, 'init.')
    torch.save(
        {f'_orig_mod.model.{k}': w for k, w in state.items()}, tmp_path / 'step_3'
    )  # as the released code saves its checkpoints
    model = load_released(TRM(config_of(settings, state)), read_weights(tmp_path / 'step_3'))
    back = to_released(model)
    assert back.keys() == state.keys() and all(torch.equal(back[k], state[k]) for k in state)
    save_model(model, tmp_path / 'model')  # and on, in our own form
    again = to_released(load_model(tmp_path / 'model'))
    assert all(torch.equal(again[k], state[k]) for k in state)


# ---- the formulas once more, written down plainly: for kinds of models of which there is no recording of the reference


def by_formula(
    w: dict, s: dict, inputs: torch.Tensor, identifiers: torch.Tensor, steps: int
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    "Logits and q of each supervision step, from weights `w` in the released code's names and its configuration `s`."
    D, P, dim = s['hidden_size'], s['puzzle_emb_len'], s['puzzle_emb_ndim']
    x = w['inner.embed_tokens.embedding_weight'][inputs.long()]
    if P:
        prefix = torch.zeros(len(x), P * D, dtype=torch.float64)
        prefix[:, :dim] = w['inner.puzzle_emb.weights'][identifiers.long()]
        x = torch.cat([prefix.view(len(x), P, D), x], 1)
    if s['pos_encodings'] == 'learned':
        x = 0.707106781 * (x + w['inner.embed_pos.embedding_weight'])
    x = x * D**0.5

    def norm(h):
        return h / (h.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt()

    def swiglu(h, name):
        gate, up = (h @ w[f'{name}.gate_up_proj.weight'].T).chunk(2, -1)
        return (gate * gate.sigmoid() * up) @ w[f'{name}.down_proj.weight'].T

    def attention(h, name):
        B, L, heads = len(h), h.shape[1], s['num_heads']
        q, k, v = (
            t.view(B, L, heads, D // heads).transpose(1, 2) for t in (h @ w[f'{name}.qkv_proj.weight'].T).chunk(3, -1)
        )
        if s['pos_encodings'] == 'rope':  # a pair of numbers is a complex number, and a rotation a product
            half = D // heads // 2
            turn = torch.polar(
                torch.ones(L, half, dtype=torch.float64),
                torch.arange(L).double()[:, None] / 1e4 ** (torch.arange(half) / half).double(),
            )
            q, k = (torch.complex(t[..., :half], t[..., half:]) * turn for t in (q, k))
            scores = (q[..., :, None, :] * k[..., None, :, :].conj()).real.sum(-1)
        else:
            scores = (q[..., :, None, :] * k[..., None, :, :]).sum(-1)
        out = (scores / (D // heads) ** 0.5).softmax(-1) @ v
        return out.transpose(1, 2).reshape(B, L, D) @ w[f'{name}.o_proj.weight'].T

    def level(h, name):
        for i in range(sum(f'inner.{name}.layers.{i}.mlp.down_proj.weight' in w for i in range(99))):
            layer = f'inner.{name}.layers.{i}'
            if s['mlp_t']:
                h = norm(h.mT + swiglu(h.mT, f'{layer}.mlp_t')).mT
            else:
                h = norm(h + attention(h, f'{layer}.self_attn'))
            h = norm(h + swiglu(h, f'{layer}.mlp'))
        return h

    low = 'L_level' if any('.L_level.' in k for k in w) else 'H_level'
    high = 'H_level' if any('.H_level.' in k for k in w) else 'L_level'
    start = {k: v.expand_as(x) for k, v in w.items() if k.endswith('_init')}
    y, z = start.get('inner.H_init'), [start[k] for k in sorted(start) if k != 'inner.H_init']
    out = []
    for _ in range(steps):
        for _ in range(s['H_cycles']):
            for i in range(s['L_cycles']):
                if y is None:
                    z = [level(x + z[0], low)]
                elif len(z) > 1:
                    z[i] = level(x + y + sum(z), low)
                elif z:
                    z = [level(x + y + z[0], low)]
            if y is None:
                z = [level(z[0], low)]
            else:
                y = level(y + sum(z) if z else x + y, high)
        answer = z[0] if y is None else y
        out.append(
            (
                answer[:, P:] @ w['inner.lm_head.weight'].T,
                answer[:, 0] @ w['inner.q_head.weight'].T + w['inner.q_head.bias'],
            )
        )
    return out


@pytest.mark.parametrize('path', OWN, ids=lambda p: p.stem)
def test_own_recordings_are_what_the_formulas_say(path):
    tensors, settings = read_recording(path)
    w = part(tensors, 'init.')

    def batch(name):
        return tensors[f'{name}.batch.inputs'], tensors[f'{name}.batch.puzzle_identifiers']

    for s, (logits, q) in enumerate(by_formula(w, settings, *batch('eval'), steps=min(2, settings['halt_max_steps']))):
        assert (logits - tensors[f'eval.step{s}.logits']).abs().max() < 1e-8
        assert (q[:, 0] - tensors[f'eval.step{s}.q_halt_logits']).abs().max() < 1e-8
    now, ahead = by_formula(w, settings, *batch('step0'), steps=2)
    assert (now[0] - tensors['step0.out.logits']).abs().max() < 1e-8
    assert (
        now[1] - torch.stack([tensors[f'step0.out.q_{k}_logits'] for k in ('halt', 'continue')], 1)
    ).abs().max() < 1e-8
    if (
        settings['halting'] == 'q-learning' and settings['halt_max_steps'] > 1
    ):  # after one step of several, going on is worth the better of the next step's two values
        assert (ahead[1].amax(1).sigmoid() - tensors['step0.out.target_q_continue']).abs().max() < 1e-8
    labels = tensors['step0.batch.labels']
    s = torch.where(now[0] < 0, 1 / (1 - now[0]), now[0] + 1)
    losses = -(s / s.sum(-1, keepdim=True)).log().gather(-1, labels.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    graded = labels != -100
    assert abs(sum(losses[i][graded[i]].mean() for i in range(len(labels))) - tensors['step0.lm_loss']) < 1e-8


def test_the_votes_of_the_reference_are_replayed(tmp_path, capsys):
    path = REFERENCE / 'arc' / 'arc_votes.npz'
    if not path.is_file():
        pytest.skip('the recorded votes of the reference implementation are not here')
    assert main([str(path)]) == 0
    assert capsys.readouterr().out.count(' ok') == 4
    shutil.copy(path, tmp_path / 'arc_votes.npz')
    assert main([str(tmp_path / 'arc_votes.npz')]) == 2  # without its .json file
    rest = json.loads(path.with_suffix('.json').read_text())
    task = next(iter(rest['submission']))
    rest['submission'][task][0]['attempt_1'] = [[9]]
    (tmp_path / 'arc_votes.json').write_text(json.dumps(rest))
    assert main([str(tmp_path / 'arc_votes.npz')]) == 1
    assert f'{task}, test 1, attempt_1' in capsys.readouterr().out


# ---- a comparison that cannot fail proves nothing: recordings and weights that are spoilt

SMALL = TRMConfig(
    vocab_size=6,
    seq_len=16,
    hidden_size=16,
    heads=2,
    multiple=16,
    n=2,
    T=2,
    n_sup=3,
    num_puzzle_identifiers=3,
    puzzle_emb_ndim=16,
    puzzle_emb_len=2,
    dtype='float64',
)
HRM = replace(SMALL, mixer='attention', answer_layers=3, gradient='one-step', halting='q-learning')


@pytest.fixture(scope='module')
def recording(tmp_path_factory) -> tuple[dict, dict]:
    path = tmp_path_factory.mktemp('recording') / 'hrm.safetensors'
    record(path, HRM)
    return read_recording(path)


def differing(path: Path, tensors: dict, settings: dict) -> set[str]:
    "Groups that differ, once these tensors are written to a file."
    save_file(tensors, path, metadata={'config': json.dumps(settings)})
    return {name for name, group in replayed(path)[1].items() if not group.ok}


@pytest.mark.parametrize(
    ('name', 'by', 'group'),
    [
        ('eval.step1.q_halt_logits', 2e-8, 'eval'),
        ('step0.out.target_q_continue', 2e-8, 'step0'),
        ('step0.q_halt_loss', 2e-8, 'step0'),
        ('step0.grad.puzzle_emb_local', 2e-8, 'gradients'),
        ('step0.grad.inner.H_level.layers.2.mlp.down_proj.weight', 2e-8, 'gradients'),
        ('step1.loss', 2e-6, 'step1'),
        ('step2.out.logits', 2e-5, 'step2'),
        ('final.inner.q_head.bias', 2e-5, 'final'),
        ('final.inner.L_init', 2e-5, 'final'),
        ('final.inner.puzzle_emb.weights', 2e-5, 'final'),
        ('step1.out.preds', 1, EXACT),
        ('step1.halted', 1, EXACT),
        ('step2.steps', 1, EXACT),
        ('step2.metric.accuracy', 2e-6, 'metrics'),
        ('step1.lm_loss', float('nan'), 'step1'),
    ],
)
def test_a_spoilt_tensor_is_noticed(recording, tmp_path, name, by, group):
    tensors, settings = recording
    spoilt = tensors[name] + by if tensors[name].is_floating_point() else tensors[name] ^ by
    assert differing(tmp_path / 'spoilt.safetensors', tensors | {name: spoilt}, settings) == {group}


def test_other_weights_change_everything(recording, tmp_path):
    tensors, settings = recording
    name = 'init.inner.L_level.layers.0.mlp.down_proj.weight'
    found = differing(tmp_path / 'spoilt.safetensors', tensors | {name: tensors[name] + 1e-4}, settings)
    assert {'eval', 'step0', 'gradients', 'final'} <= found


@pytest.mark.parametrize(
    ('name', 'group'),
    [
        ('step0.grad.inner.ghost', 'gradients'),
        ('final.inner.ghost', 'final'),
        ('step1.q_max_loss', 'step1'),
        ('eval.step2.logits', 'eval'),
        ('step0.metric.ghost', 'metrics'),
    ],
)
def test_a_tensor_that_only_the_recording_has_is_noticed(recording, tmp_path, name, group):
    tensors, settings = recording
    assert differing(tmp_path / 'more.safetensors', tensors | {name: torch.zeros(1)}, settings) == {group}


def test_missing_tensors_and_other_shapes_are_noticed(recording, tmp_path):
    tensors, settings = recording
    path = tmp_path / 'other.safetensors'
    assert differing(path, {k: w for k, w in tensors.items() if k != 'step1.halted'}, settings) == {EXACT}
    for other in (
        {'step0.halted': tensors['step0.halted'].unsqueeze(0)},
        {'step1.steps': tensors['step1.steps'].double()},
    ):
        assert differing(path, tensors | other, settings) == {EXACT}


@pytest.mark.parametrize(
    ('why', 'settings'),
    [
        ('expected float64', {'forward_dtype': 'float32'}),
        ('exploration', {'halt_exploration_prob': 0.1}),
        ('cannot be replayed', {'hidden_size': 0}),
        ('cannot be replayed', {'expansion': '4'}),
        ('there are weights of 2', {'L_layers': 7}),
    ],
)
def test_settings_that_cannot_be_replayed(recording, tmp_path, why, settings):
    with pytest.raises(ValueError, match=why):
        differing(tmp_path / 'other.safetensors', recording[0], recording[1] | settings)


@pytest.mark.parametrize(
    ('why', 'name'),
    [
        ('lacks step1.batch.inputs', 'step1.batch.inputs'),
        ('lacks eval.batch.puzzle_identifiers', 'eval.batch.puzzle_identifiers'),
        ('those of another model', 'init.inner.q_head.bias'),
    ],
)
def test_a_recording_without_a_tensor_that_is_needed(recording, tmp_path, why, name):
    tensors, settings = recording
    with pytest.raises(ValueError, match=why):
        differing(tmp_path / 'less.safetensors', {k: w for k, w in tensors.items() if k != name}, settings)


@pytest.mark.parametrize('name', ['inputs', 'labels', 'puzzle_identifiers'])
def test_a_batch_that_the_model_cannot_take(recording, tmp_path, name):
    tensors, settings = recording
    key = f'step1.batch.{name}'
    with pytest.raises(ValueError, match='cannot be replayed'):
        differing(tmp_path / 'other.safetensors', tensors | {key: tensors[key] + 99}, settings)


@pytest.mark.parametrize('content', [[1, 2], {}, {0: torch.ones(2)}])
def test_a_file_without_a_state_dict(tmp_path, content):
    torch.save(content, tmp_path / 'other')
    with pytest.raises(ValueError, match='no state dict'):
        read_weights(tmp_path / 'other')


def test_weights_of_one_name_with_two_prefixes(tmp_path):
    torch.save({'a': torch.ones(2), 'model.a': torch.ones(2)}, tmp_path / 'other')
    with pytest.raises(ValueError, match='two weights of one name'):
        read_weights(tmp_path / 'other')


def test_damaged_files(tmp_path):
    weights, path = to_released(TRM(SMALL)), tmp_path / 'file'
    for save in (torch.save, save_file):
        save(weights, path)
        path.write_bytes(path.read_bytes()[:2000])
        with pytest.raises(ValueError, match='is damaged'):
            read_weights(path)
    path.write_text('hello world, this is a letter')
    with pytest.raises(ValueError, match='is damaged, or'):
        read_weights(path)


def test_whatever_is_done_to_a_file_it_is_read_or_a_value_error(tmp_path):
    rng, path = np.random.default_rng(0), tmp_path / 'file'
    for k in range(200):
        torch.save({'inner.H_init': torch.ones(3)}, path, _use_new_zipfile_serialization=bool(k % 2))
        raw = bytearray(path.read_bytes())
        raw[rng.integers(len(raw))] = rng.integers(256)
        path.write_bytes(raw[: rng.integers(len(raw) // 2, len(raw) + 1)])
        try:
            read_weights(path)
        except ValueError:
            pass


@pytest.mark.parametrize(
    ('changes', 'why'),
    [
        (dict(num_puzzle_identifiers=5), 'embeddings of 3 puzzles, expected 5'),
        (dict(mixer='attention'), 'mlp_t.down_proj.weight: expected no such weight'),
        (dict(layers=3), r'layers.2.mlp.down_proj.weight: expected \(16, 48\), got none'),
        (dict(vocab_size=7), r'expected \(7, 16\), got \(6, 16\)'),
    ],
)
def test_weights_of_another_model_change_nothing(changes, why):
    model = TRM(replace(SMALL, **changes))
    before = {name: w.clone() for name, w in model.state_dict().items()}
    with pytest.raises(ValueError, match=why):
        load_released(model, to_released(TRM(SMALL)))
    assert all(torch.equal(w, before[name]) for name, w in model.state_dict().items())


def test_weights_that_are_no_numbers_with_a_fraction():
    whole = {name: w.int() for name, w in to_released(TRM(SMALL)).items()}
    with pytest.raises(ValueError, match='expected floating point numbers'):
        load_released(TRM(SMALL), whole)


def test_a_setting_that_is_fixed_here():
    with pytest.raises(ValueError, match='rope_theta is 500000.0'):
        config_of(settings_of(SMALL) | {'rope_theta': 5e5}, to_released(TRM(SMALL)))
