"""Every training of the tables and of the calibration that was ever committed, from git's history, as one CSV.

    python tools/history.py > results/calibration/history.csv

Records of tasks that were left are no longer in the folders, but they stay in the history.
"""

import csv
import json
import re
import subprocess
import sys
from datetime import UTC, datetime

LEFT = {  # pattern of a run's name -> why the task is no longer used
    'sudoku-6x6-minimal': 'the profile was shortened to 25,600 samples: 18 clues and 32 channels instead',
    'sudoku-6x6-22-clues': 'a trial: HRM had not begun to learn',
    'sudoku-6x6-24-clues': 'a trial: TRM solved nearly all before HRM had begun to learn',
    'arc-agi-.-10x10': 'no row had solved a test after 25,600 samples: 6×6 instead',
    'arc-agi-.-6x6': 'too few tests for a verdict: generated tasks instead',
    'sudoku-9x9-31-clues.*steps2500': 'rows with attention stayed on the floor: 6×6 and positions in front instead',
    'arc-like-.*steps1000': 'a short training on few tasks: 256,000 samples and more tasks instead',
    'maze-5x5': 'a trial: not learned faster',
    'maze-6x6-10': 'no row solved half of the mazes but direct prediction',
    'maze-6x6-6-': 'a trial: not learned faster',
    'perfect-maze-.*steps6000': 'a trial: TRM-Att did not solve half of the mazes',
    'maze-(8x8-12|10x10-12|12x12-20)-.*steps6000': 'a trial: harder mazes were learned, too',
    '(perfect-)?maze-.*steps5000': 'a trial: TRM-Att did not solve half of the mazes',
}
COLUMNS = 'run,seed,in front,channels,lr,samples,validation %,test %,test raw %,finished,revision,file,left'


def git(*args: str) -> str:
    return subprocess.run(['git', *args], capture_output=True, text=True, check=True).stdout


def versions() -> dict[str, str]:
    "Path of a record -> the newest revision that has it."
    found: dict[str, str] = {}
    folders = 'results/*/runs/*.json', 'results/calibration/*.json'
    log = git('log', '--format=@%H', '--name-status', '--no-renames', '--', *folders)
    for line in log.splitlines():
        if line.startswith('@'):
            revision = line[1:]
        elif line:
            status, path = line.split('\t')
            found.setdefault(path, revision if status != 'D' else f'{revision}^')
    return found


def row(path: str, revision: str) -> dict:
    "What a record says, in one line."
    record = json.loads(git('show', f'{revision}:{path}'))
    record = record.get('record', record)
    curve, results = record['curve'], record.get('results', {})
    how, model = record.get('how', {}), record.get('model', {})
    finished = record.get('finished')

    def percent(share: float | None) -> str:
        return '' if share is None else f'{100 * share:.1f}'

    return {
        'run': record['id'],
        'seed': record.get('seed', int(m[1]) if (m := re.search(r'-seed(\d+)-', record['id'])) else 0),
        'in front': model.get('puzzle_emb_len', ''),
        'channels': model.get('hidden_size', ''),
        'lr': how.get('lr', ''),
        'samples': curve[-1]['samples'],
        'validation %': percent(curve[-1].get('valid_exact')),
        'test %': percent(results.get('ema', {}).get('exact')),
        'test raw %': percent(results.get('raw', {}).get('exact')),
        'finished': datetime.fromtimestamp(finished, UTC).strftime('%Y-%m-%d %H:%M') if finished else '',
        'revision': (record.get('machine', {}).get('git') or '')[:8],
        'file': path,
        'left': next((why for name, why in LEFT.items() if re.match(name, record['id'])), ''),
    }


if __name__ == '__main__':
    rows = [row(path, revision) for path, revision in sorted(versions().items()) if 'smoke' not in path]
    writer = csv.DictWriter(sys.stdout, COLUMNS.split(','), lineterminator='\n')
    writer.writeheader()
    writer.writerows(sorted(rows, key=lambda r: (r['finished'], r['run'])))
