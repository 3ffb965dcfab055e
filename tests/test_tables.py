"The paper's numbers are the paper's, and the committed tables are what the committed records say."

import shutil
from pathlib import Path

import pandas as pd
import pytest
from conftest import ROOT, rerun

from trm_nbdev.baselines import PRESETS, TABLE3_ROWS
from trm_nbdev.engine.tables import HRM_ANALYSIS, TABLE1, TABLE2, TABLE3, TABLE4, TABLE5, cost_to

PAPER = ROOT.parent / 'shared' / 'paper'
TABLES = [*(f'table{k}' for k in range(1, 6)), 'hrm_analysis', 'claims']
COMMITTED = sorted({path.parent for name in TABLES for path in (ROOT / 'results').glob(f'*/{name}.csv')})
PARTS = {
    'layers': 'table1',
    'mlp_vs_attention': 'table1',
    'fixed_point_vs_full_backprop': 'table1',
    'one_or_two_networks': 'table1',
    'ema': 'table1',
    'act': 'table1',
    'latent_features': 'table2',
    'recursion_depth': 'table3',
    'deep_supervision': 'hrm_analysis',
}  # notebook -> the table whose rows it shows
SIDES = {
    'sudoku_extreme': ('table4', 'Sudoku-Extreme'),
    'maze_hard': ('table4', 'Maze-Hard'),
    'arc_agi_1': ('table5', 'ARC-AGI-1'),
    'arc_agi_2': ('table5', 'ARC-AGI-2'),
}


def read(path: Path) -> pd.DataFrame:
    "A table as it was written: strings, its first column in front."
    return pd.read_csv(path, index_col=0, dtype=str, keep_default_na=False)


def printed(name: str, index: str | list[str]) -> pd.DataFrame:
    "The paper's numbers, as they were copied from it twice."
    if not PAPER.is_dir():
        pytest.skip("the paper's numbers lie beside the checkout, in shared/paper, and are not there")
    return pd.read_csv(PAPER / f'{name}.csv').drop(columns='source').set_index(index)


@pytest.mark.parametrize('name, ours', [('table1', TABLE1), ('table2', TABLE2), ('table4', TABLE4), ('table5', TABLE5)])
def test_the_numbers_of_the_paper(name, ours):
    theirs = printed(name, 'method')
    pd.testing.assert_frame_equal(theirs, ours[theirs.columns])


def test_table_3_and_its_models():
    theirs = printed('table3', ['k', 'T'])
    assert list(theirs.index) == TABLE3_ROWS
    assert theirs[TABLE3.columns].astype(str).equals(TABLE3.astype(str))
    for (k, T), row in theirs.iterrows():
        for model in ('HRM', 'TRM'):
            c = PRESETS['Table 3'][f'{model}, k={k}, T={T}']
            assert (c.n, c.T, c.layers) == (row[f'{model.lower()}_n'], T, row[f'{model.lower()}_layers'])


def test_the_analysis_of_hrm():
    theirs = printed('hrm_analysis', 'setting')
    assert theirs.arc_agi_1_acc_pct.to_dict() == HRM_ANALYSIS.acc_pct.to_dict()


def test_the_tables_of_the_quick_profile_are_committed():
    assert 'table1.csv' in [path.name for path in (ROOT / 'results' / 'quick').iterdir()]


@pytest.mark.parametrize('folder', COMMITTED, ids=lambda p: p.name)
def test_committed_tables_follow_from_the_committed_records(folder, tmp_path):
    data = ['--data', ROOT.parent / 'shared' / 'data'] if folder.name.endswith('-real') else []
    if data and not data[1].is_dir():
        pytest.skip('the real puzzles lie beside the checkout, in shared/data, and are not there')
    shutil.copytree(folder / 'runs', tmp_path / 'out' / 'runs')
    done = rerun(
        '--profile',
        folder.name.removesuffix('-real'),
        '--only',
        'results',
        '--out',
        tmp_path / 'out',
        *data,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for name in TABLES:
        if (folder / f'{name}.csv').is_file():
            pd.testing.assert_frame_equal(read(tmp_path / 'out' / f'{name}.csv'), read(folder / f'{name}.csv'))


@pytest.mark.parametrize('folder', COMMITTED, ids=lambda p: p.name)
def test_the_table_of_each_notebook_says_what_the_whole_one_says(folder):
    there = [name for name in [*PARTS, *SIDES] if (folder / f'{name}.csv').is_file()]
    assert there
    for name in there:
        part = read(folder / f'{name}.csv')
        if name in PARTS:
            whole = read(folder / f'{PARTS[name]}.csv')
        else:
            table, side = SIDES[name]
            whole = read(folder / f'{table}.csv').rename(columns=lambda c, side=side: c.removeprefix(f'{side}: '))
            part = part[[c for c in part.columns if c in whole.columns]]
        pd.testing.assert_frame_equal(part, whole.loc[part.index, part.columns], obj=name)


def curve(*exact, **more):
    return [
        dict(step=k, samples=64 * k, valid_exact=e, **{u: k * v for u, v in more.items()})
        for k, e in enumerate(exact, 1)
    ]


def test_what_a_level_costs():
    assert cost_to(curve(0.5, 0.9), 0.5) == 64 and cost_to(curve(0.5, 0.9), 0.7) == pytest.approx(96)
    assert cost_to(curve(0.8), 0.4) == pytest.approx(32)  # the start: nothing taken, nothing solved
    assert cost_to(curve(0.8, 0.2, 0.9), 0.5) == pytest.approx(40)  # where it first gets there
    assert cost_to(curve(0.0, 0.0, 1.0, core_seconds=10), 0.5, 'core_seconds') == pytest.approx(25)
    assert cost_to(curve(0.0, 1.0, flop=2e9), 1.0, 'flop') == 4e9
    for never in (curve(), curve(0.2, 0.3), curve(None, None)):
        assert cost_to(never, 0.9) is None
    assert cost_to(curve(None, 0.9), 0.9) == 128  # without validation puzzles at first
    assert cost_to(curve(0.9), 0.5, 'flop') is None  # an older record


@pytest.mark.parametrize('wrong, expected', [((0, 'samples'), 'level is 0'), ((0.5, 'hours'), "unit is 'hours'")])
def test_a_level_or_a_unit_that_makes_no_sense(wrong, expected):
    with pytest.raises(ValueError, match=expected):
        cost_to([], *wrong)
