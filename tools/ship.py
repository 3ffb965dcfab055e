"""Ship a trained model with the package: python tools/ship.py RECORD MODEL_FOLDER NAME [--half]

--half: store bfloat16, which halves the file; for a model that computes in bfloat16 the answers stay the same
"""

import sys
from pathlib import Path
from typing import Any

from trm_nbdev.engine.files import digest, read_sealed
from trm_nbdev.engine.weights import CONFIG, SHIPPED, SUMS, WEIGHTS, load_model, save_model

CARD = """---
library_name: trm_nbdev
license: apache-2.0
---
# {name}

A [Tiny Recursive Model](https://arxiv.org/abs/2510.04871) for {kind}.

```python
from trm_nbdev.engine.weights import load_model

model = load_model('{name}')
```

| | |
|---|---|
| model | {mixer}, width {model[hidden_size]}, {model[layers]} layers, n={model[n]}, T={model[T]}, {gradient} |
| parameters | {parameters:,} |
| training puzzles | {data[train_puzzles]:,} of `{data[name]}`: {difficulty}; {augmentation} |
| training | {steps:,} steps of {how[batch_size]} samples |
| time | {minutes:.1f} minutes on {device}{core_hours} |
| seeds | one training, seed {seed} |
| test puzzles solved | {test[solved]:,} of {test[puzzles]:,}: {exact:.1f} %, 95 % interval {low:.1f} to {high:.1f} % |
| made with | trm_nbdev {machine[trm_nbdev]}, revision {machine[git]}, torch {machine[torch]} |

The weights are the averaged ones{kept}.
They were tested once, with {model[n_sup]} supervision steps, on puzzles that are not in the training set.
All numbers are from `record.json`, the record of the training.

## What it cannot do

- It reads {kind} and nothing else. A grid of another size is refused.
- It can be wrong: {wrong:,} of the {test[puzzles]:,} test puzzles were not solved{shortest}.
  Check an answer against the rules.
  The halting logit says how sure the model is, and that can be wrong, too.
- It was tested on puzzles made like those of its training. How it does on others was not measured.
- The interval says what other test puzzles might have given. A training with another seed may end further away.
"""


def words(record: dict[str, Any]) -> dict[str, str]:
    "What the model and its puzzles are called."
    data, mixer = record['data'], {'mlp': 'TRM-MLP', 'attention': 'TRM-Att'}[record['model']['mixer']]
    threads, machine = record['how']['threads'], record['machine']
    device = f'{threads} thread{"s" if threads > 1 else ""}, {machine["processor"]}'
    common = dict(mixer=mixer, device=device if machine['device'] == 'cpu' else f'one {machine["device"]}')
    if 'box' in data:
        rows, columns = data['box']
        return common | dict(
            kind=f'{rows * columns}×{rows * columns} Sudokus with boxes of {rows}×{columns}',
            difficulty=_difficulty(data),
            augmentation='every sample is changed by a random symmetry',
        )
    return common | dict(
        kind=f'mazes of {data["side"]}×{data["side"]} cells',
        difficulty=f'the shortest path has at least {data["min_path"]} cells',
        augmentation='every sample is turned or mirrored at random' if data['augmented'] else 'without augmentation',
    )


def _difficulty(data: dict[str, Any]) -> str:
    if 'train.csv' in data:
        return "rows of Sudoku-Extreme's train.csv"
    return 'no clue can be spared' if data['clues'] is None else f'{data["clues"]} clues'


def card(name: str, record: dict[str, Any]) -> str:
    "The README.md of a model, written from the record of its training."
    test = record['results']['ema']
    curve, on_cpu = record['curve'], record['machine']['device'] == 'cpu'
    best, spent = max(curve, key=lambda point: point.get('valid_exact') or 0), curve[-1].get('core_seconds')
    others = test.get('shortest_paths', 0) - test['solved']
    numbers = dict(
        test=test,
        kept=f' of the best validation, after {best["step"]:,} steps' if record['how'].get('keep_best') else '',
        core_hours=f', {spent / 3600:.1f} core-hours of processor time' if on_cpu and spent and spent > 1800 else '',
        shortest=f'; in {others} of them it drew another shortest path' if others > 0 else '',
        exact=100 * test['exact'],
        low=100 * test['low'],
        high=100 * test['high'],
        wrong=test['puzzles'] - test['solved'],
        minutes=record['seconds']['training'] / 60,
        steps=curve[-1]['step'],  # it may have ended early
        gradient='1-step gradient' if record['model']['gradient'] == 'one-step' else 'full gradient',
    )
    return CARD.format_map(record | words(record) | numbers | {'name': name})


def ship(record: Path, folder: Path, name: str, shipped: Path = SHIPPED, half: bool = False) -> Path:
    "Copy a model and its record to the package's models, and write its card; ValueError if they do not fit."
    content = read_sealed(record)
    model = load_model(folder)  # is it whole?
    if digest(folder / WEIGHTS) != content['weights_sha256']:
        raise ValueError(f'{folder} holds a different model from that of {record}')
    place = shipped / name
    place.mkdir(parents=True, exist_ok=True)
    if half:
        save_model(model, place, half)
    else:
        for file in (folder / CONFIG, folder / WEIGHTS, folder / SUMS):
            (place / file.name).write_bytes(file.read_bytes())
    (place / 'record.json').write_bytes(record.read_bytes())
    (place / 'README.md').write_text(card(name, content), encoding='utf-8')
    return place


if __name__ == '__main__':
    given = [a for a in sys.argv[1:] if a != '--half']
    if len(given) != 3:
        sys.exit(__doc__)
    print(ship(Path(given[0]), Path(given[1]), given[2], half='--half' in sys.argv))
