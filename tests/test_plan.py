"What the plan and the command refuse, and that the plan knows what the notebooks need."

import json
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
from conftest import ROOT

from trm_nbdev.engine.long_runs import LATER, determining
from trm_nbdev.engine.plan import (
    EXPERIMENTS,
    PROFILES,
    RACES,
    RECIPES,
    TASKS,
    data_of,
    in_race,
    profile_of,
    race,
    rows_of,
    run_spec,
    run_specs,
    seed_list,
    work,
)
from trm_nbdev.engine.rerun import (
    LAST,
    changes_of,
    check_mode,
    default_parameters,
    experiments,
    main,
    parser,
    plan,
    row_specs,
)
from trm_nbdev.training import stages

NOTEBOOKS = ROOT / 'nbs' / '3_experiments'


@pytest.mark.parametrize('seeds', ['a', [0, 0], -1, [], 1.5, ['1', '2.5']])
def test_seeds_are_different_whole_numbers(seeds):
    with pytest.raises(ValueError, match='expected'):
        seed_list(seeds, ())


def test_a_profile_that_does_not_exist():
    with pytest.raises(ValueError, match='expected one of smoke, quick, laptop, overnight, paper'):
        profile_of('fast')


def test_puzzles_that_are_not_there():
    with pytest.raises(FileNotFoundError, match='expected train.csv and test.csv there'):
        data_of('smoke', 'Maze-Hard', '/nowhere')


def test_a_row_that_makes_no_sense():
    with pytest.raises(ValueError, match='heads is 3'):
        run_spec('smoke', dict(heads=3, mixer='attention'))


@pytest.mark.parametrize(
    'words, message',
    [
        (('lion',), "no row is called 'lion', expected one of TRM (T=3, n=6); HRM;"),
        (('HRM', 'k=3'), "'k=3' changes no field, expected name=value with one of hidden_size"),
        (('HRM', 'n'), "n is '', expected a whole number"),
        (('HRM', 'n=3.0'), 'expected a whole number'),
        (('HRM', 'lr=__import__("os")'), 'expected a number'),
        (('HRM', 'seq_len=25'), 'seq_len follows from the puzzles'),
        (('HRM', 'compiled=1'), 'expected true or false'),
        (('HRM', 'growth=[[0,1]]'), 'growth is'),
        (('HRM', 'betas=[0.9]'), 'expected a tuple of a number of at least 0 and below 1 and a'),
    ],
)
def test_words_behind_run(words, message):
    with pytest.raises(ValueError) as e:
        changes_of(*words)
    assert message in str(e.value)


def test_a_schedule_is_the_same_however_it_is_written():
    "On a command line, in YAML as papermill reads it, in a record."
    typed, listed = changes_of('TRM (T=3, n=6)', 'growth=[[0,1,2],[0.5,3,6]]'), dict(growth=[[0, 1, 2], [0.5, 3, 6]])
    specs = [run_spec('smoke', changes) for changes in (typed, listed, dict(growth=((0.0, 1, 2), (0.5, 3, 6))))]
    assert len({spec.key for spec in specs}) == 1 and specs[0] == specs[1] == specs[2] != run_spec('smoke', {})
    assert determining(json.loads(json.dumps(asdict(specs[0].train_config)))) == determining(
        asdict(specs[2].train_config)
    )


def test_the_key_of_a_run_is_that_of_code_without_later_fields():
    "As the records of the repository have it, which lack some of these fields."
    records = [json.loads(path.read_text()) for path in (ROOT / 'results' / 'laptop' / 'runs').glob('*.json')]
    kept = {record['key'] for record in records if not LATER.keys() <= record['how'].keys()}
    specs = race('laptop')
    assert kept and len(kept & {spec.key for spec in specs.values()}) > 20


def test_the_work_of_a_growing_run_is_that_of_its_stages():
    halves = [work(run_spec('smoke', dict(T=T, n=n, steps=5))) for T, n in ((1, 2), (3, 6))]
    assert work(run_spec('smoke', dict(steps=10, growth=((0, 1, 2), (0.5, 3, 6))))) == sum(halves)


def test_tensorboard_that_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, 'tensorboard', None)
    with pytest.raises(ValueError, match='needs the package tensorboard, which is not installed'):
        check_mode(parser().parse_args(['--tensorboard']))


def test_several_processes_train_single_runs_only(monkeypatch, capsys):
    monkeypatch.setenv('TORCHELASTIC_RUN_ID', 'as if by torchrun')
    assert main(['--profile', 'smoke']) == 2
    assert 'several processes can train single runs only' in capsys.readouterr().err


def test_folders_without_notebooks_and_parameters_that_a_notebook_lacks(tmp_path):
    with pytest.raises(ValueError, match='no notebooks in'):
        experiments(tmp_path)
    with pytest.raises(ValueError, match='its parameters are profile, benchmark, seeds, data, out'):
        default_parameters(NOTEBOOKS / 'layers.ipynb', {'profil': 'smoke'})


def test_every_experiment_of_the_plan_has_a_notebook_which_takes_its_rows_from_it():
    names = {path.stem for path in NOTEBOOKS.glob('*.ipynb')}
    assert EXPERIMENTS.keys() | RACES.keys() == names - {LAST, 'check_records'}  # they need no runs
    for name in RACES:
        assert 'race(profile, seeds' in (NOTEBOOKS / f'{name}.ipynb').read_text()
    for name in EXPERIMENTS:
        assert f"rows_of('{name}'" in (NOTEBOOKS / f'{name}.ipynb').read_text()


@pytest.mark.parametrize('profile', PROFILES)
def test_the_command_plans_the_runs_of_each_notebook(profile, tmp_path):
    p = plan(parser().parse_args(['--profile', profile, '--data', 'built-in', '--out', str(tmp_path)]))
    for name, notebook in p.notebooks.items():
        own = default_parameters(Path(notebook), {})
        if name in RACES:
            assert p.runs[name] == [*race(profile, None, RACES[name]).values()]
            continue
        if name not in EXPERIMENTS:
            assert p.runs[name] == []
            continue
        specs = run_specs(rows_of(name, profile, own['benchmark']), profile, own['seeds'], 'built-in', own['benchmark'])
        assert p.runs[name] == [*specs.values()]


def test_one_long_training_is_left_to_overnight_which_runs_nothing_else(tmp_path):
    def planned(*words):
        return plan(parser().parse_args([*words, '--data', 'built-in', '--out', str(tmp_path)]))

    (specs,) = planned('--profile', 'overnight').runs.values()
    assert [spec.train_config.keep_best for spec in specs] == [True]
    assert 'long_run' not in planned('--profile', 'laptop').notebooks
    with pytest.raises(ValueError, match='only has long_run, which quick leaves to others'):
        planned('--profile', 'quick', '--only', 'long_run')


def test_the_tasks_of_the_speedrun_are_the_same_in_every_profile():
    quick, laptop = race('quick', 0), race('laptop', 0)
    assert len({spec.key for spec in laptop.values()}) == len(laptop)
    assert quick.items() <= laptop.items()
    assert {k: v.key for k, v in race('paper').items()} == {k: v.key for k, v in laptop.items()}
    for name, task in TASKS.items():
        first = next(iter(task.entries))
        assert laptop[name, first, 0].train_config.evaluations >= 16
        for entry, fields in task.entries.items():  # nothing is left to a profile that another profile changes
            specs = {p: run_spec(p, fields, 0, task.data) for p in ('quick', 'laptop')}
            assert specs['quick'].key == specs['laptop'].key == laptop[name, entry, 0].key


def test_only_runs_of_the_speedrun_compile_afresh():
    assert all(in_race(spec) for spec in race('laptop', [0, 7]).values())
    assert not any(in_race(run_spec(profile, {})) for profile in PROFILES)


def test_a_recipe_is_asked_for_by_name():
    assert run_spec('quick', {}, recipe='paper').key == run_spec('quick', {}).key
    fast = run_spec('quick', dict(n=3), recipe='fast')
    assert (fast.model.T, fast.model.n, fast.train_config.train_n_sup) == (RECIPES['fast']['T'], 3, 4)
    with pytest.raises(ValueError, match="recipe is 'lion', expected one of paper, fast"):
        run_spec('quick', {}, recipe='lion')


def test_the_command_trains_by_recipe_only_single_rows(tmp_path):
    words = ['--profile', 'smoke', '--recipe', 'fast', '--out', str(tmp_path)]
    with pytest.raises(ValueError, match="recipe is 'fast' without --run"):
        check_mode(parser().parse_args(words))
    (spec,) = row_specs(parser().parse_args([*words, '--run', 'TRM (T=3, n=6)']))
    assert spec == run_spec('smoke', {}, recipe='fast')


def test_a_training_never_takes_more_supervision_steps_than_the_model():
    spec = run_spec('smoke', dict(mixer='attention', features='y', layers=2, n=0, T=1, n_sup=1), recipe='fast')
    assert [c.n_sup for c in stages(spec.model, spec.train_config).values()] == [1]


def test_the_speedrun_has_no_other_entries():
    with pytest.raises(ValueError, match='expected names of entries'):
        race('laptop', 0, ['nonsense'])
