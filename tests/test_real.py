"The records of the real puzzles are those of the tool that made them."

import runpy

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, cells

from trm_nbdev.engine.files import read_sealed
from trm_nbdev.engine.sudoku_solver import difficulty
from trm_nbdev.engine.weights import load_model
from trm_nbdev.puzzles import sudoku
from trm_nbdev.solving import HALT_THRESHOLD, solved_puzzles, wilson
from trm_nbdev.thinking_longer import think_longer

REAL, DATA = ROOT / 'results' / 'real', ROOT.parent / 'shared' / 'data'
TOOL = runpy.run_path(str(ROOT / 'tools' / 'real.py'))
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason='the real puzzles lie beside the checkout, in shared/data')


@needs_data
@pytest.mark.parametrize(('name', 'steps', 'evaluations'), [('short', 2000, 8), ('long', 13_680, 40)])
def test_a_record_is_that_of_the_tools_training(name, steps, evaluations):
    record = read_sealed(REAL / f'{name}.json')
    assert record['key'] == TOOL['spec'](str(DATA), steps, evaluations).key
    assert len(record['curve']) == evaluations and record['results']['ema']['puzzles'] == 9000


@needs_data
def test_the_trainings_with_other_weight_decay_are_the_tools_own():
    found = pd.read_csv(REAL / 'weight_decay.csv')
    for (lr, decay), curve in found.groupby(['lr', 'weight_decay']):
        spec = TOOL['spec'](str(DATA), 9000, 36, f'lr={lr}', f'weight_decay={decay}', 'keep_best=true')
        assert {*curve.key} == {spec.key}
        assert [*curve.step] == sorted(spec.train_config.evaluation_steps)[: len(curve)]
        assert [*curve.samples] == [step * spec.train_config.batch_size for step in curve.step]


@needs_data
def test_recorded_chains_come_out_again(n=4):
    "The first chains of the first puzzles; another machine rounds differently, which may change an answer or two."
    test = TOOL['puzzles'](str(DATA)).load().test
    each, _ = TOOL['answered'](test.inputs[:n], test.labels[:n], 1, 0)
    recorded = pd.read_csv(REAL / 'chains16.csv')
    recorded = recorded[(recorded.puzzle < n) & (recorded.chain == 0)]
    assert (each.right.to_numpy() != recorded.right.to_numpy()).sum() <= 1
    assert np.isclose(each.q, recorded.q, atol=1).sum() >= n - 1


@pytest.mark.parametrize('chains', [16, 64])
def test_what_is_chosen_follows_from_the_chains(chains):
    each, ways = (pd.read_csv(REAL / f'{name}{chains}.csv') for name in ('chains', 'ways'))
    size = TOOL['BLOCK']
    assert not each.duplicated(['puzzle', 'chain']).any() and len(each) == size * chains * ways.block.nunique()
    for k in (1, 4, chains):
        first = each[each.chain < k].sort_values('chain')
        surest = first.loc[first.groupby('puzzle').q.idxmax()].set_index('puzzle').right.sort_index()
        by_block = surest.groupby(surest.index // size).sum()
        told = ways[(ways.chains == k) & (ways.choose == 'surest')].set_index('block').solved.sort_index()
        assert (by_block == told).all()


def in_turn() -> pd.DataFrame:
    return pd.read_csv(REAL / 'cut_off' / 'first_sure.csv')


def test_a_chain_follows_only_where_none_before_it_was_sure():
    each = in_turn().sort_values(['puzzle', 'chain'])
    chains = each.groupby('puzzle')
    assert [*chains.size().index] == [*range(5000)] and (each.chain == chains.cumcount()).all()
    last = chains.tail(1).set_index('puzzle')
    assert (each.drop(chains.tail(1).index).q <= HALT_THRESHOLD).all() and each.steps.between(1, 16).all()
    allowed = np.repeat([16, 4], [1000, 4000])
    assert ((last.chain + 1 == allowed) | (last.q > HALT_THRESHOLD)).all() and (last.chain < allowed).all()
    assert ((each.q > HALT_THRESHOLD) | (each.steps == 16)).all()


@needs_data
def test_the_cut_off_weights_answer_as_recorded(n=4):
    "The first puzzles; another machine rounds differently, which may change an answer or two."
    test, recorded = TOOL['puzzles'](str(DATA)).load().test, in_turn().query(f'puzzle < {n} and chain == 0')
    found = think_longer(load_model(REAL / 'cut_off'), test.inputs[:n])
    assert (solved_puzzles(found.tokens, test.labels[:n]) != recorded.right.to_numpy()).sum() <= 1
    assert np.isclose(found.q[0], recorded.q, atol=1).sum() >= n - 1


def test_the_long_run_says_what_the_cut_off_weights_solve():
    card = (REAL / 'cut_off' / 'README.md').read_text(encoding='utf-8')
    each, text = (
        in_turn(),
        '\n'.join(''.join(c['source']) for c in cells(ROOT / 'nbs' / '3_experiments' / 'long_run.ipynb')),
    )
    for chains, n in ((1, 5000), (4, 5000), (16, 1000)):
        part = each[(each.chain < chains) & (each.puzzle < n)]
        right = int(part.loc[part.groupby('puzzle').q.idxmax()].right.sum())
        low, high = wilson(right, n)
        assert f'{100 * right / n:.1f} % ({100 * low:.1f} to {100 * high:.1f})' in text, (chains, n)
        if chains != 4:
            assert f'{right:,} of ' in card and f'{n:,}' in card and f'{100 * low:.1f} to {100 * high:.1f} %' in card


def test_blocks_of_puzzles_are_added_once(tmp_path):
    file, block = tmp_path / 'found.csv', pd.DataFrame(dict(puzzle=[0, 0, 1], chain=[0, 1, 0]))
    for found in (block, block + [2, 0], block):
        TOOL['add'](file, found)
    assert pd.read_csv(file).to_numpy().tolist() == [[2, 0], [2, 1], [3, 0], [0, 0], [0, 1], [1, 0]]


@needs_data
def test_half_of_the_training_puzzles_need_over_500_guesses():
    "If this fails, what nbs/00_trm.ipynb says about the dataset is out of date."
    asked = pd.read_csv(DATA / 'sudoku-extreme' / 'train.csv').question
    assert len(asked) == 1000
    assert np.median([difficulty(sudoku.parse_grid(grid, (3, 3)), (3, 3)) for grid in asked]) > 500
