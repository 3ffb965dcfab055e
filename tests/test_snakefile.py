"The Snakefile plans what is missing, and only that."

import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ENV, ROOT

from trm_nbdev.baselines import ROWS, benchmark_of
from trm_nbdev.engine.plan import data_of, race, rows_of, run_spec

EXPERIMENTS = {p.stem for p in (ROOT / 'nbs' / '3_experiments').glob('*.ipynb')}


def ids(seed: int = 0) -> set[str]:
    "The runs of all tables and of the speedrun in the smoke profile, early_stop's shorter training and the long one."
    tables = {
        run_spec('smoke', changes, seed, data_of('smoke', benchmark_of(table))).id
        for table, rows in ROWS.items()
        for changes in rows.values()
    }
    rows = [rows_of('early_stop', 'smoke')['a quarter of the budget'], rows_of('long_run', 'smoke')['long run']]
    others = {run_spec('smoke', row, seed).id for row in rows}
    return tables | others | {spec.id for spec in race('smoke', seed).values()}


def both_paths(*seeds: int) -> set[str]:
    "Those of compiled_or_plain."
    return {run_spec('smoke', dict(compiled=compiled), seed).id for compiled in (True, False) for seed in seeds}


class Workflow:
    "Snakemake in a copy of the checkout, with results in a folder of its own."

    def __init__(self, tree: Path):
        self.tree, self.out = tree, tree / 'out'

    def __call__(self, *words: object, profile: str = 'smoke', **more: str) -> subprocess.CompletedProcess:
        config = [f'{name}={value}' for name, value in dict(profile=profile, out='out', **more).items()]
        return subprocess.run(
            [Path(sys.executable).with_name('snakemake'), *map(str, words), '--config', *config],
            cwd=self.tree,
            env=ENV,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def plan(self, *words: str, **config: str) -> tuple[list[str], set[str]]:
        "Names of the runs and of the notebooks that a dry run announces."
        done = self('--dry-run', *words, **config)
        assert done.returncode == 0, done.stdout
        runs, notebooks = (
            re.findall(rf'output: \S*out/{what}\n', done.stdout)
            for what in (r'runs/(.*)\.json', r'notebooks/(.*)\.ipynb')
        )
        return sorted(runs), {*notebooks}

    def pretend(self, runs: set[str], notebooks: set[str] = frozenset()):
        "Make files as if these had been made."
        for path in [
            *(self.out / 'runs' / f'{run}.json' for run in runs),
            *(self.out / 'notebooks' / f'{name}.ipynb' for name in notebooks),
        ]:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()


@pytest.fixture
def workflow(tree):
    return Workflow(tree)


def test_each_run_of_every_table_is_a_job_once(workflow):
    assert workflow.plan() == (sorted(ids() | both_paths(0)), EXPERIMENTS)


def test_only_what_is_missing_is_planned(workflow):
    every = ids() | both_paths(0)
    workflow.pretend(every)
    assert workflow.plan() == ([], EXPERIMENTS)
    workflow.pretend(set(), EXPERIMENTS)
    (workflow.out / 'notebooks' / 'results.ipynb').touch()  # it is the last
    assert workflow.plan() == ([], set())
    one_step = run_spec('smoke', dict(gradient='one-step')).id
    (workflow.out / 'runs' / f'{one_step}.json').unlink()
    assert workflow.plan() == ([one_step], {'fixed_point_vs_full_backprop', 'results'})
    assert workflow.plan(seeds='0 1')[0] == sorted(ids(1) | both_paths(1) | {one_step})


def test_chosen_notebooks_need_their_runs_only(workflow):
    runs = {run_spec('smoke', changes, seed).id for changes in ({}, dict(layers=4, n=3)) for seed in (0, 1)}
    assert workflow.plan(only='layers ema', seeds='0 1') == (sorted(runs), {'layers', 'ema'})


def test_a_run_is_trained_and_stays_trained_whatever_becomes_of_the_snakefile(workflow):
    record = f'out/runs/{run_spec("smoke", dict(features="single-z")).id}.json'
    done = workflow('--cores', 1, record, only='latent_features')
    assert done.returncode == 0, done.stdout
    assert (workflow.tree / record).stat().st_size > 1000
    file = workflow.tree / 'Snakefile'
    text = file.read_text()
    assert text.count('runs.run(RUNS[wildcards.run], OUT)') == 1
    file.write_text(text.replace('runs.run(RUNS[wildcards.run], OUT)', 'runs.run(RUNS[wildcards.run], Path(OUT))'))
    assert Path(record).stem not in workflow.plan(only='latent_features')[0]


def test_on_a_cluster_each_run_is_a_job_with_a_gpu(workflow):
    done = workflow('--dry-run', '--profile', 'profiles/slurm', profile='paper', only='layers', seeds='0 1 2')
    assert done.returncode == 0, done.stdout
    jobs = re.findall(r'^rule run:.*?resources: (.*?)$', done.stdout, flags=re.MULTILINE | re.DOTALL)
    assert len(jobs) == 6 and all('gpu=1' in resources and 'runtime=' in resources for resources in jobs)


@pytest.mark.parametrize(
    'config, message',
    [
        (dict(profile='tiny'), "profile is 'tiny', expected one of smoke"),
        (dict(only='nothing'), 'no experiment is called nothing'),
        (dict(seeds='one'), 'expected whole numbers such as 0 1 2'),
        (dict(data='nowhere'), 'nowhere'),
        (dict(profle='smoke'), '--config profle: expected values for some of profile, only, seeds, data, out'),
    ],
)
def test_what_makes_no_sense_is_said_before_anything_runs(workflow, config, message):
    done = workflow('--dry-run', **config)
    assert done.returncode == 1 and message in done.stdout
    assert 'File "' not in done.stdout and 'Error in file' not in done.stdout  # no traceback
