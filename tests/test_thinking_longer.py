"Thinking longer where the chapter cannot show it: what is refused or left out, and that neighbours do not matter."

import json
import re
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ROOT

from trm_nbdev.model import TRM, TRMConfig
from trm_nbdev.puzzles import maze, sudoku
from trm_nbdev.solving import solve, think
from trm_nbdev.thinking_longer import CHOICES, Difference, choose_answer, think_longer

SMALL = (2, 2)
TINY = TRMConfig(vocab_size=6, seq_len=16, hidden_size=16, heads=2, multiple=16, n=2, T=2, n_sup=4, dtype='float64')
DIFFERENCES = {
    'symmetry': Difference(symmetry=partial(sudoku.change_and_undo, box=SMALL)),
    'start': Difference(start=1.0),
    'noise': Difference(noise=0.5),
    'all': Difference(partial(sudoku.change_and_undo, box=SMALL), 0.5, 0.5),
}


def opinionated(**changes: object) -> TRM:
    "An untrained model whose halting logits differ from puzzle to puzzle."
    torch.manual_seed(0)
    model = TRM(replace(TINY, **changes))
    torch.nn.init.normal_(model.q_head.weight)
    return model


@pytest.fixture(scope='module')
def questions() -> np.ndarray:
    return np.random.default_rng(0).integers(1, 6, (10, 16)).astype(np.uint8)


@pytest.mark.parametrize(
    'wrong, expected',
    [
        (dict(chains=2), 'chains is 2 and nothing makes them differ'),
        (dict(chains=2, difference=Difference()), 'chains is 2 and nothing makes them differ'),
        (dict(chains=4, budget=3, difference=Difference(start=1.0)), 'budget is 3 and chains 4, expected at least one'),
        (dict(chains=0), 'chains is 0, expected a whole number from 1'),
        (dict(budget=0), 'budget is 0, expected a whole number'),
        (dict(budget=10_001), 'steps is 10001, expected a whole number from 1 to 10,000'),
        (dict(choose='the best'), "choose is 'the best', expected one of last; surest;"),
        (dict(threshold=np.nan), 'threshold is nan, expected a number'),
        (dict(seed=-1), 'seed is -1, expected'),
        (dict(difference=0.5), 'difference is 0.5, expected'),
        (dict(batch_size=0), 'batch_size is 0, expected'),
    ],
    ids=str,
)
def test_what_cannot_be_meant_is_refused(wrong, expected, questions):
    with pytest.raises(ValueError, match=re.escape(expected)):
        think_longer(TRM(TINY), questions, **wrong)


def test_differences_and_ways_to_choose_are_checked():
    with pytest.raises(ValueError, match='start is -1.0, expected'):
        Difference(start=-1.0)
    with pytest.raises(ValueError, match='noise is inf, expected'):
        Difference(noise=np.inf)
    with pytest.raises(ValueError, match="choose is 'loudest', expected one of"):
        choose_answer(np.zeros((1, 2, 3), np.uint8), np.zeros((1, 2)), 'loudest')


@pytest.mark.parametrize('steps', [None, 1, 9])
def test_one_chain_is_plain_thinking(steps, questions):
    model = opinionated()
    answers = think(model, questions, steps=steps)
    for choose in CHOICES:
        found = think_longer(model, questions, budget=steps, threshold=np.inf, choose=choose)
        assert (found.tokens == answers.tokens[-1]).all() and (found.q[0] == answers.q[-1]).all()
        assert (found.passes == len(answers.q)).all()


@pytest.mark.parametrize('difference', DIFFERENCES.values(), ids=DIFFERENCES)
def test_chains_differ_by_seed_and_by_nothing_else(difference, questions):
    model = opinionated()
    ask = partial(think_longer, model, chains=3, difference=difference, threshold=np.inf)
    found = ask(questions)
    assert (found.chains[0] == think(model, questions).tokens[-1]).all()
    assert len({chain.tobytes() for chain in found.chains}) == 3
    for batch_size in (1, 4, 7):  # neighbours do not matter
        assert (ask(questions, batch_size=batch_size).chains == found.chains).all()
    assert (ask(questions).chains == found.chains).all()
    other = ask(questions, seed=1)
    assert (other.chains[0] == found.chains[0]).all() and (other.chains[1:] != found.chains[1:]).any()
    assert (ask(questions, choose='last').tokens == found.chains[-1]).all()


@pytest.mark.parametrize('difference', DIFFERENCES.values(), ids=DIFFERENCES)
def test_the_first_sure_chain_ends_the_work(difference, questions):
    model = opinionated()
    ask = partial(think_longer, model, questions, chains=5, difference=difference)
    threshold = float(np.median(ask(threshold=np.inf).q))
    every, first = ask(threshold=threshold), ask(threshold=threshold, choose='first sure')
    assert (first.tokens == choose_answer(every.chains, every.q, 'first sure', threshold)).all()
    needed = (every.q > threshold).cumsum(0) - (every.q > threshold) == 0  # nobody before was sure
    assert (first.steps == every.steps * needed).all() and first.passes.sum() < every.passes.sum()
    assert (first.q[needed] == every.q[needed]).all() and np.isneginf(first.q[~needed]).all()
    assert (first.chains[~needed] == np.broadcast_to(questions, first.chains.shape)[~needed]).all()


def test_the_budget_is_shared_and_never_exceeded(questions):
    model = opinionated()
    for budget, chains in ((7, 2), (12, 3), (5, 5)):
        found = think_longer(model, questions, None, budget, chains, Difference(start=1.0), threshold=np.inf)
        assert (found.steps == budget // chains).all() and (found.passes <= budget).all()
    assert (think_longer(model, questions, chains=3, difference=Difference(start=1.0)).passes <= 3 * 4).all()


def test_chains_of_a_model_with_embeddings_keep_their_identifiers(questions):
    model = opinionated(mixer='attention', num_puzzle_identifiers=10, puzzle_emb_ndim=32, puzzle_emb_len=2)
    torch.nn.init.normal_(model.embed.puzzles.weight)
    who = np.arange(10)
    found = think_longer(model, questions, who, chains=2, difference=Difference(start=1e-9), threshold=np.inf)
    assert (found.chains == think(model, questions, who).tokens[-1]).all()


def test_no_puzzles_have_no_answers(questions):
    found = think_longer(opinionated(), questions[:0], chains=2, difference=DIFFERENCES['all'], choose='first sure')
    assert found.tokens.shape == (0, 16) and found.passes.shape == (0,)


def test_solving_undisturbed_is_solving(questions):
    model, seen = opinionated(), []

    def watch(state, rows, taken):
        seen.extend(zip(rows.tolist(), taken.tolist(), strict=True))
        return state

    plain = solve(model, questions, threshold=np.inf, batch_size=3)
    watched = solve(model, questions, threshold=np.inf, batch_size=3, disturb=watch)
    assert (plain.tokens == watched.tokens).all()
    assert sorted(seen) == [(row, step) for row in range(10) for step in range(4)]  # each step of each puzzle once


def test_votes_go_to_the_most_and_ties_to_the_surest():
    rng = np.random.default_rng(0)
    for _ in range(50):
        tokens, q = rng.integers(0, 3, (5, 4, 2)).astype(np.uint8), rng.permutation(20).reshape(5, 4) / 10
        cells, whole = choose_answer(tokens, q, 'vote of cells'), choose_answer(tokens, q, 'vote of answers')
        for n in range(4):
            answers = [tuple(a) for a in tokens[:, n].tolist()]
            best = max(range(5), key=lambda k: (answers.count(answers[k]), q[k, n]))
            assert tuple(whole[n].tolist()) == answers[best]
            for c in range(2):
                column = tokens[:, n, c].tolist()
                assert cells[n, c] == column[max(range(5), key=lambda k: (column.count(column[k]), q[k, n]))]


@pytest.mark.parametrize('box', [(2, 2), (2, 3), (3, 2), (3, 3)], ids=str)
def test_a_changed_sudoku_is_a_sudoku_and_can_be_changed_back(box):
    side = sudoku.side_of(box)
    row, col = np.divmod(np.arange(side * side), side)
    grid = sudoku.to_tokens((row % box[0] * box[1] + row // box[0] + col) % side + 1)
    change, undo = sudoku.change_and_undo(np.random.default_rng(0), 20, box)
    grids = np.tile(grid, (20, 1))
    assert len(np.unique(change(grids), axis=0)) > 1
    assert all(sudoku.find_clash(sudoku.to_digits(g), box) is None for g in change(grids))
    anything = np.random.default_rng(1).integers(0, side + 2, grids.shape).astype(np.uint8)  # even padding, and blanks
    assert (undo(change(anything)) == anything).all() and (change(undo(anything)) == anything).all()
    assert change(anything).dtype == undo(anything).dtype == np.uint8
    blank = anything < 2
    assert ((change(anything) < 2).sum(1) == blank.sum(1)).all()


def test_a_turned_maze_can_be_turned_back_and_its_paths_stay_shortest():
    side = 5
    question = maze.parse_maze('S  # # #       ##  #   G ', side)
    answer = maze.solve(question, side)[1]
    turn, back = maze.change_and_undo(np.random.default_rng(0), 30, side)
    questions, answers = np.tile(question, (30, 1)), np.tile(answer, (30, 1))
    assert len(np.unique(turn(questions), axis=0)) == 8
    assert (back(turn(questions)) == questions).all()
    assert maze.is_shortest_path(turn(answers), turn(questions), side).all()
    solved_turned = maze.solve_many(turn(questions), side)[1]
    assert maze.is_shortest_path(back(solved_turned), questions, side).all()


RECORDED = sorted({path.parent for path in (ROOT / 'results').glob('*/found/chains-*.json')})


@pytest.mark.parametrize('folder', RECORDED, ids=lambda folder: folder.parent.name)
def test_the_points_follow_from_the_records(folder):
    "The table of points, and the bins of the logits, counted again from what was found."
    records = [json.loads(path.read_text()) for name in ('steps', 'chains') for path in folder.glob(f'{name}-*.json')]
    shown = [r for r in records if 'steps' in r['what'] or r['what']['differ'] == 'symmetry']
    points = pd.read_csv(folder.parent / 'test_time_points.csv')
    columns = ['way', 'budget', 'chains', 'solved', 'puzzles']
    counted = [
        (p['way'], p['budget'], p['chains'], p['right'].count(1), len(p['right']))
        for r in shown
        for p in r['found']['points']
    ]
    assert sorted(counted) == sorted(points[columns].itertuples(index=False, name=None))
    assert np.allclose(points.exact, points.solved / points.puzzles, atol=1e-4)
    right = sum(sum(map(sum, r['found']['legal'])) for r in shown if 'chains' in r['what'])
    assert right == pd.read_csv(folder.parent / 'test_time_reliability.csv').right.sum()
    for r in shown:  # the last of all budgets, from the answers of the single chains
        if 'chains' in r['what']:
            last = {p['way']: p for p in r['found']['points'] if p['chains'] == r['what']['chains']}
            each, q = np.array(r['found']['right']), np.array(r['found']['q'])
            assert last['any chain']['right'] == each.max(0).tolist()
            best = q == q.max(0)
            assert (np.where(best, each, 1).min(0) <= last['surest']['right']).all()
            assert (np.where(best, each, 0).max(0) >= last['surest']['right']).all()


def test_the_experiment_says_what_its_points_say(root):
    "If this fails, the text at the end of nbs/3_experiments/test_time.ipynb is out of date."
    quick = root / 'results' / 'quick'
    points = pd.read_csv(quick / 'test_time_points.csv').set_index(['model', 'way', 'budget'])
    exact, legal, cost = (points[name] for name in ('exact', 'legal', 'passes'))
    minimal, maze_ = 'sudoku-9x9, minimal', 'maze-8x8'
    models = points.index.levels[0]
    brief, whole = ([m for m in models if m.startswith(f'record, {steps} steps')] for steps in (400, 1600))
    assert (points.puzzles == 200).all() and len(brief) == len(whole) == 3
    assert exact[minimal, 'more steps', 64] > exact[minimal, 'more steps', 16] + 0.08
    still = [m for m in models if m != minimal]
    assert all(abs(exact[m, 'more steps', 64] - exact[m, 'more steps', 16]) <= 0.011 for m in still)
    assert exact[minimal, 'surest', 128] > 0.98 and exact[minimal, 'first sure', 128] > 0.97
    assert cost[minimal, 'first sure', 128] < 16
    assert all(0.015 < exact[m, 'surest', 128] - exact[m, 'more steps', 16] < 0.036 for m in brief)
    assert all(exact[m, 'vote of answers', 128] == exact[m, 'any chain', 128] == 1 for m in brief)
    assert all(exact[m, 'vote of cells', 128] > exact[m, 'surest', 128] for m in brief)
    cells, answers = (
        points.xs((way, 128), level=('way', 'budget')).exact for way in ('vote of cells', 'vote of answers')
    )
    assert (answers >= cells).all() and answers[minimal] > cells[minimal] + 0.05
    assert exact[maze_, 'surest', 128] < 0.6 < legal[maze_, 'more steps', 16] + 0.15 < legal[maze_, 'surest', 128]
    logit = pd.read_csv(quick / 'test_time_logit.csv', index_col=0)
    ranks = logit['right above wrong %'].astype(float)
    assert 60 < ranks[brief].min() and ranks[brief].max() < 71 and ranks[[*whole, 'sudoku-9x9']].min() > 98
    hard = pd.read_csv(quick / 'test_time_difficulty.csv').set_index(['guesses', 'way']).loc['over 100']
    assert (hard.puzzles == 38).all() and hard.solved['one chain, 16 steps'] == 29
    assert hard.solved['8 chains, first sure'] == 37
    differ = pd.read_csv(quick / 'test_time_differences.csv').set_index('model').loc[brief]
    votes = differ[['vote of cells', 'vote of answers']][differ['chains differ by'] != 'symmetry']
    assert 87 <= votes.min().min() and votes.max().max() <= 99 and differ['any'].min() >= 92
    logit_bins = pd.read_csv(quick / 'test_time_reliability.csv')
    assert (logit_bins.groupby('model').answers.sum() == 8 * 200).all()
    unsure = logit_bins[logit_bins.bin.between(2, 7) & ~logit_bins.model.isin([*brief, maze_])]
    assert unsure.answers.sum() < 50 and unsure.right.sum() < (unsure.answers * unsure.believed).sum() / 3
    assert logit['sure %'].astype(float)[brief].max() == 0 and logit['sure and wrong %'].astype(float).max() < 1


def test_the_experiment_says_how_far_it_goes(root):
    "If this fails, the last paragraph of nbs/3_experiments/test_time.ipynb is out of date."
    points = pd.read_csv(root / 'results' / 'laptop' / 'test_time_points.csv').set_index(['model', 'way', 'budget'])
    minimal, (solved, cost) = 'sudoku-9x9, minimal', (points[name] for name in ('solved', 'passes'))
    assert (points.puzzles == 128).all() and points.chains.max() == 64
    assert [solved[minimal, 'more steps', k] for k in (16, 512, 1024)] == [105, 124, 124]
    assert [solved[minimal, 'surest', 16 * k] for k in (8, 16, 64)] == [127, 128, 128]
    assert round(cost[minimal, 'surest', 256]) == 119 and round(cost[minimal, 'first sure', 1024], 1) == 12.7
    assert [solved[minimal, 'first sure', 16 * k] for k in (16, 64)] == [126, 126]
    assert [solved['sudoku-9x9', 'more steps', k] for k in (16, 128, 1024)] == [125, 127, 127]
    assert solved['sudoku-9x9', 'surest', 32] == 128
    mazes = [solved['maze-8x8', 'more steps', 2**k] for k in range(3, 11)]
    assert (min(mazes), max(mazes)) == (101, 103)
    assert solved['maze-8x8', 'surest', 1024] < 70


def test_the_experiment_says_what_the_real_puzzles_gain(root):
    "If this fails, the paragraph on the real puzzles in nbs/3_experiments/test_time.ipynb is out of date."
    folder = root / 'results' / 'quick-real'
    points = pd.read_csv(folder / 'test_time_points.csv').set_index(['way', 'budget'])
    solved, passes = points.solved, points.passes
    assert (points.model == 'sudoku-extreme').all() and (points.puzzles == 200).all()
    assert [solved['more steps', k] for k in (16, 64)] == [96, 99]
    assert solved['surest', 128] == solved['any chain', 128] == 124 and solved['vote of cells', 128] == 104
    assert solved['first sure', 128] == 123
    assert [round(passes[way, 128]) for way in ('first sure', 'surest')] == [57, 79]
    hard = pd.read_csv(folder / 'test_time_difficulty.csv').set_index(['guesses', 'way']).loc['over 100']
    assert (hard.puzzles == 155).all()
    assert [round(100 * hard.exact[way]) for way in ('one chain, 16 steps', '8 chains, first sure')] == [36, 50]
    differ = pd.read_csv(folder / 'test_time_differences.csv', index_col='chains differ by')
    assert [*differ['first']] == [48, 48, 48] and [*differ.surest] == [61, 53, 52]
    logit = pd.read_csv(folder / 'test_time_logit.csv', index_col=0)
    assert logit['right above wrong %']['sudoku-extreme'] == 99.6
