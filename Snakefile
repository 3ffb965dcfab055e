# Every run, notebook and table as a step that Snakemake plans: what is there is not made again, and what does not wait for
# something else runs side by side, here (snakemake -c 2) or on a cluster (snakemake --profile profiles/slurm).
#
#   snakemake -n                     what would be done
#   snakemake -c 2                   what `make results` does
#   snakemake -c 2 --config profile=paper only="layers ema" seeds="0 1 2" data=folder out=folder    (each is optional)
#   snakemake -c 2 --forceall        every run of a table and every notebook anew
import json
import sys
from pathlib import Path

from trm_nbdev.baselines import BASE, COLUMNS, ROWS, VARIANTS, benchmark_of
from trm_nbdev.engine.data import SUDOKU
from trm_nbdev.engine.rerun import LAST, parser, plan
from trm_nbdev.engine.runs import data_of, profile_of, record_path, run_spec, seed_list


def given(name): return str(config[name]).split() if name in config else None
def as_options(**values): return [word for name, value in values.items() if value for word in (f'--{name}', *value)]


PROFILE, SEEDS = str(config.get('profile', 'quick')), given('seeds')
# what trm-rerun would do, checked: errors come before anything runs
PLAN = plan(parser().parse_args(as_options(profile=[PROFILE], seeds=SEEDS, only=given('only'), data=given('data'), out=given('out'))))
OUT = PLAN.out.relative_to(Path.cwd()) if PLAN.out.is_relative_to(Path.cwd()) else PLAN.out
RERUN = Path(sys.executable).with_name('trm-rerun')
WHERE = as_options(profile=[PROFILE], data=[PLAN.source], out=given('out'))


def variants(*names): return SUDOKU, [VARIANTS[name] for name in names]
def table(name): return benchmark_of(name), [*ROWS[name].values()]


# notebook -> benchmark, and what its rows change. What else a notebook trains (the short run that checks the records, a model
# for twice as long, an idea of yours), it trains itself: it does so with anything that is missing.
ROWS_OF = {
    'act': variants(BASE, 'w/ ACT'),
    'arc_agi_1': table(COLUMNS['ARC-AGI-1']),
    'arc_agi_2': table(COLUMNS['ARC-AGI-2']),
    'compiled_or_plain': (SUDOKU, [dict(compiled=True), dict(compiled=False)]),
    'deep_supervision': table('HRM analysis'),
    'early_stop': variants(BASE),
    'ema': variants(BASE),
    'fixed_point_vs_full_backprop': variants(BASE, 'w/ 1-step gradient'),
    'latent_features': table('Table 2'),
    'layers': variants(BASE, 'w/ 4-layers, n=3'),
    'maze_hard': table(COLUMNS['Maze-Hard']),
    'mlp_vs_attention': variants(BASE, 'w/ self-attention'),
    'one_or_two_networks': variants(BASE, 'w/ separate fH, fL'),
    'precision': variants(BASE),
    'recursion_depth': (SUDOKU, [*ROWS['Table 3'].values(), VARIANTS['w/ T=2, n=2']]),
    'sudoku_extreme': table(COLUMNS[SUDOKU]),
    'your_idea': variants(BASE, 'w/ self-attention'),
}
SEEDS_OF = {'compiled_or_plain': (0, 1, 2)}  # where no seeds are asked for; else the profile's


def runs_of(notebook):
    "Name of the record -> what changes, benchmark and seed, for each run that a notebook needs; rows that are the same run have one name."
    if notebook not in ROWS_OF: return {}
    benchmark, rows = ROWS_OF[notebook]
    data, seeds = data_of(PROFILE, benchmark, PLAN.source), seed_list(SEEDS, SEEDS_OF.get(notebook, profile_of(PROFILE).seeds))
    return {record_path(run_spec(PROFILE, changes, seed, data), OUT).stem: (changes, benchmark, seed) for seed in seeds for changes in rows}


NEEDS = {name: runs_of(name) for name in PLAN.notebooks}
RUNS = {run: what for runs in NEEDS.values() for run, what in runs.items()}


def options(run):
    "What trm-rerun is told, so that it makes this run."
    changes, benchmark, seed = RUNS[run]
    fields = [f'{name}={value if isinstance(value, str) else json.dumps(value)}' for name, value in changes.items()]
    return [BASE, *fields, '--benchmark', benchmark, '--seeds', str(seed)]


def records_of(name):
    "What a notebook reads: the records of its runs; the last one reads those of all others."
    others = [str(OUT/'notebooks'/f'{other}.ipynb') for other in PLAN.notebooks if other != LAST] if name == LAST else []
    return [str(OUT/'runs'/f'{run}.json') for run in NEEDS[name]] + others


rule results:
    # the records, too: Snakemake does not miss a file that is only needed on the way to others which are there
    input: [OUT/'notebooks'/f'{name}.ipynb' for name in PLAN.notebooks], [OUT/'runs'/f'{run}.json' for run in RUNS]

rule run:
    output: str(OUT/'runs'/'{run}.json')
    params: what=lambda wildcards: options(wildcards.run), where=WHERE
    shell: 'TQDM_DISABLE=1 {RERUN:q} --run {params.what:q} {params.where:q}'

rule notebook:
    input: lambda wildcards: str(PLAN.notebooks[wildcards.name]), lambda wildcards: records_of(wildcards.name)
    output: str(OUT/'notebooks'/'{name}.ipynb')
    params: where=[*WHERE, *as_options(seeds=SEEDS)]
    shell: '{RERUN:q} --only {wildcards.name} --jobs 1 {params.where:q}'
