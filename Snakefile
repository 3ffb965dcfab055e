# Every run, notebook and table as a step that Snakemake plans. Existing files are not made again, and steps that do not
# depend on each other run side by side, here (snakemake -c 2) or on a cluster (snakemake --profile profiles/slurm).
#
#   snakemake -n                     what would be done
#   snakemake -c 2                   what `make results` does
#   snakemake -c 2 --config profile=paper only="layers ema" seeds="0 1 2" data=folder out=folder    (each is optional)
#   snakemake -c 2 --forceall        make every run of a table and every notebook again
import os
import sys
from pathlib import Path

from trm_nbdev.engine import rerun, runs

os.environ['TQDM_DISABLE'] = '1'


def given(name): return str(config[name]).split() if name in config else None
OPTIONS = ['profile', 'only', 'seeds', 'data', 'out']
if wrong := [name for name, value in config.items() if name not in OPTIONS or value is None]:
    sys.exit(f'Snakefile: --config {", ".join(wrong)}: expected values for some of {", ".join(OPTIONS)}')
def as_options(**values): return [word for name, value in values.items() if value for word in (f'--{name}', *value)]


PROFILE, SEEDS = [str(config.get('profile', 'quick'))], given('seeds')
# What trm-rerun would do, checked, so that errors come before anything runs. Runs that a notebook trains beyond the
# plan (the short run that checks the records, your own idea) are not separate jobs.
WORDS = as_options(profile=PROFILE, seeds=SEEDS, only=given('only'), data=given('data'), out=given('out'))
try:
    PLAN = rerun.plan(rerun.parser().parse_args(WORDS))
except (ValueError, OSError) as e:
    sys.exit(f'Snakefile: {e}')  # one line and no traceback
RUNS = {spec.id: spec for specs in PLAN.runs.values() for spec in specs}
OUT = PLAN.out.relative_to(Path.cwd()) if PLAN.out.is_relative_to(Path.cwd()) else PLAN.out
RERUN = Path(sys.executable).with_name('trm-rerun')


def record(run): return str(OUT / 'runs' / f'{run}.json')
def executed(name): return str(OUT / 'notebooks' / f'{name}.ipynb')


def read_by(name):
    "What a notebook reads: the records of its runs; the last notebook reads what all the others have made."
    others = [other for other in PLAN.notebooks if other != name] if name == rerun.LAST else []
    return [record(spec.id) for spec in PLAN.runs[name]] + [executed(other) for other in others]


rule results:
    # the records too: Snakemake does not notice a missing file if everything made from it exists
    input: [executed(name) for name in PLAN.notebooks], [record(run) for run in RUNS]

rule run:
    output: record('{run}')
    run: runs.run(RUNS[wildcards.run], OUT)

rule notebook:
    input: lambda wildcards: str(PLAN.notebooks[wildcards.name]), lambda wildcards: read_by(wildcards.name)
    output: executed('{name}')
    params: words=as_options(profile=PROFILE, data=[PLAN.source], out=given('out'), seeds=SEEDS)
    shell: '{RERUN:q} --only {wildcards.name} --jobs 1 {params.words:q}'
