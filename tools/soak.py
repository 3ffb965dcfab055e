"""Disturb `trm-rerun --profile smoke` for an hour, and compare what it records with what it records in peace.

python tools/soak.py [--kills 500] [--seed 0]: processes are killed at random moments, the disk is filled and emptied,
and files are damaged between two commands. The outcome goes to results/soak.json. It needs Linux, and root for a small
disk of its own.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import psutil

from trm_nbdev.engine.runs import kept_model, machine, whole_record

ROOT = Path(__file__).resolve().parent.parent
COMPARED = 'table*.csv', 'hrm_analysis.csv', 'claims.csv'  # tables without times


def command(out: Path, cache: Path) -> subprocess.Popen:
    "trm-rerun at work, with two workers at a time."
    words = ['--profile', 'smoke', '--jobs', '2', '--out', str(out)]
    environment = os.environ | {'TRM_CACHE': str(cache), 'OMP_NUM_THREADS': '1'}
    log = (out.parent / 'soak.log').open('a')
    return subprocess.Popen(
        [Path(sys.executable).with_name('trm-rerun'), *words], cwd=ROOT, env=environment, stdout=log, stderr=log
    )


def results(out: Path) -> dict[str, object]:
    "All that must not depend on what happens to the machine, by name."
    found: dict[str, object] = {}
    for path in sorted((out / 'runs').glob('*.json')):
        with suppress(ValueError):  # damaged by us, and not read since
            record = whole_record(path)
            curve = [{k: v for k, v in point.items() if k != 'core_seconds'} for point in record['curve']]
            found[path.stem] = curve, record['results']
            kept_model(out / 'models' / path.stem, record)
            found[f'{path.stem}, weights'] = (out / 'models' / path.stem / 'model.safetensors').read_bytes()
    return found | {path.name: path.read_text() for pattern in COMPARED for path in out.glob(pattern)}


def kind_of(process: psutil.Process, parent: int) -> str:
    "Which part of the command a process is."
    if process.pid == parent:
        return 'the command'
    line = ' '.join(process.cmdline())
    return 'a kernel' if 'ipykernel' in line else 'the server of workers' if 'forkserver' in line else 'another helper'


def kill_one(p: subprocess.Popen, rng: random.Random) -> str | None:
    "Kill the command itself, one time in ten, or else one of its processes, if it has any. Returns which it was."
    with suppress(psutil.NoSuchProcess):
        main = psutil.Process(p.pid)
        servers, helpers = {child.pid for child in main.children()}, main.children(recursive=True)
        if (alone := rng.random() < 0.1) or helpers:
            victim = main if alone else rng.choice(helpers)
            what = 'a worker' if victim.ppid() in servers else kind_of(victim, p.pid)
            victim.kill()
            return what
    return None


def damage_one(folders: list[Path], rng: random.Random) -> str | None:
    "Flip a bit, cut, or overwrite part of a file. Returns its kind."
    files = [path for folder in folders for path in sorted(folder.rglob('*')) if path.is_file() and path.stat().st_size]
    files = [path for path in files if path.suffix in {'.json', '.jsonl', '.safetensors', '.npy', '.npz', ''}]
    if not files:
        return None
    path = rng.choice(files)
    content = bytearray(path.read_bytes())
    at = rng.randrange(len(content))
    match rng.choice(['flip', 'cut', 'zero', 'insert']):
        case 'flip':
            content[at] ^= 1 << rng.randrange(8)
        case 'cut':
            del content[at:]
        case 'zero':
            content[at : at + 64] = bytes(len(content[at : at + 64]))
        case 'insert':
            content[at:at] = rng.randbytes(3)
    path.write_bytes(content)
    return path.suffix or 'no suffix'


def fill(disk: Path) -> None:
    "Leave no room on the disk."
    with suppress(OSError), (disk / 'ballast').open('wb', buffering=0) as f:
        while True:
            f.write(bytes(2**16))


def soak(folder: Path, disk: Path, small: bool, kills: int, rng: random.Random) -> dict[str, object]:
    "The whole soak; the folder is for what is done in peace, the disk for the rest."
    assert command(folder / 'in peace', folder / 'cache').wait() == 0
    expected, began = results(folder / 'in peace'), time.time()
    runs = {path.stem for path in (folder / 'in peace' / 'runs').glob('*.json')}
    out, cache = disk / 'out', disk / 'cache'
    killed, damaged, counts, wrong = Counter[str](), Counter[str](), Counter[str](), []

    def compare() -> None:
        found = results(out)
        wrong.extend(name for name in found if name not in expected or found[name] != expected[name])
        counts['records compared'] += len(runs & found.keys())

    while sum(killed.values()) < kills:
        both, full_until, end = [command(out, cache) for _ in range(2)], 0.0, time.time() + rng.uniform(10, 90)
        counts['commands'] += 2
        while time.time() < end and sum(killed.values()) < kills:
            time.sleep(min(rng.expovariate(1), 10))
            if full_until and time.time() > full_until:
                (disk / 'ballast').unlink(missing_ok=True)
                full_until = 0.0
            elif small and rng.random() < 0.03:
                fill(disk)
                counts['times the disk was full'] += 1
                full_until = time.time() + rng.uniform(2, 10)
            k = rng.randrange(2)
            if both[k].poll() is not None:
                both[k] = command(out, cache)
                counts['commands'] += 1
            elif what := kill_one(both[k], rng):
                killed[what] += 1
                print(sum(killed.values()), what, flush=True)
        for p in both:
            p.kill()
            p.wait()
        (disk / 'ballast').unlink(missing_ok=True)
        time.sleep(2)  # workers end with the command
        if runs <= {path.stem for path in (out / 'runs').glob('*.json')} and rng.random() < 0.3:
            compare()
            counts['times everything was recorded, compared and deleted'] += 1
            shutil.rmtree(out)
        for _ in range(rng.randrange(4)):
            if what := damage_one([out / name for name in ('runs', 'models', 'checkpoints', 'logs')] + [cache], rng):
                damaged[what] += 1
    for _ in range(3):  # in peace, until all is well
        if command(out, cache).wait() == 0:
            break
    compare()
    missing = sorted(expected.keys() - results(out).keys())
    unasked = [name for name in missing if name.endswith(', weights')]  # damaged by us, and asked for by no notebook
    return dict(
        kills=sum(killed.values()),
        killed=dict(killed),
        damaged=dict(damaged),
        **counts,
        damaged_models_unasked_for=len(unasked),
        missing=[name for name in missing if name not in unasked],
        different=sorted(set(wrong)),
        hours=round((time.time() - began) / 3600, 2),
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--kills', type=int, default=500)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--out', type=Path, default=ROOT / 'results' / 'soak.json')
    a = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        disk = Path(folder) / 'disk'
        disk.mkdir()
        small = not subprocess.run(
            ['mount', '-t', 'tmpfs', '-o', 'size=64m', 'tmpfs', disk], capture_output=True
        ).returncode
        try:
            outcome = soak(Path(folder), disk, small, a.kills, random.Random(a.seed))
        finally:
            if small:
                subprocess.run(['umount', '--lazy', disk], check=True)
    about = dict(seed=a.seed, disk='64 MiB' if small else 'not filled: no permission to mount one', machine=machine())
    a.out.write_text(json.dumps(outcome | about, indent=1) + '\n')
    print(json.dumps(outcome, indent=1))
    return int(bool(outcome['missing'] or outcome['different']))


if __name__ == '__main__':
    sys.exit(main())
