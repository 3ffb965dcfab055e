"""Record small models of every kind into tests/recordings, where the tests replay them.

Run it after a change that is meant to change numbers.
"""

import re
from pathlib import Path

from trm_nbdev.baselines import VARIANTS
from trm_nbdev.engine.reference import record
from trm_nbdev.model import TRMConfig

small = dict(
    vocab_size=5,
    seq_len=9,
    hidden_size=4,
    heads=1,
    multiple=4,
    n_sup=3,
    num_puzzle_identifiers=3,
    puzzle_emb_ndim=4,
    puzzle_emb_len=2,
    dtype='float64',
)
more = {
    'learned positions': dict(mixer='attention', positions='learned'),
    'no positions': dict(mixer='attention', positions='none'),
    'no puzzle embeddings': dict(puzzle_emb_ndim=0, puzzle_emb_len=0),
    'one supervision step': dict(n_sup=1, halting='q-learning'),
}


def shallow(changes: dict) -> dict:
    "The same with n and T of at most 2: the deeper the recursion, the more it amplifies another machine's rounding."
    c = TRMConfig(**small | changes)
    return changes | dict(n=min(c.n, 2), T=min(c.T, 2))


def file_name(kind: str) -> str:
    return '-'.join(re.findall('[a-z0-9]+', kind.lower()))


kinds = {file_name(kind): shallow(changes) for kind, changes in (VARIANTS | more).items()}


def main():
    folder = Path(__file__).resolve().parent.parent / 'tests' / 'recordings'
    folder.mkdir(exist_ok=True)
    for seed, (name, changes) in enumerate(kinds.items()):
        path = folder / f'{name}.safetensors'
        record(path, TRMConfig(**small | changes), seed=seed, batch_size=3)
        path.chmod(0o644)


if __name__ == '__main__':
    main()
