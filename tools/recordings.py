"Record small models of every kind into tests/recordings, where the tests replay them: after a change that is meant to change numbers."
import re
from pathlib import Path

from trm_nbdev.baselines import VARIANTS
from trm_nbdev.model import TRMConfig
from trm_nbdev.reference import record

small = dict(vocab_size=5, seq_len=9, hidden_size=4, heads=1, multiple=4, n_sup=3, num_puzzle_identifiers=3, puzzle_emb_ndim=4, puzzle_emb_len=2, dtype='float64')
kinds = VARIANTS | {
    'learned positions': dict(mixer='attention', positions='learned', T=2),
    'no positions': dict(mixer='attention', positions='none', T=2), 'no puzzle embeddings': dict(puzzle_emb_ndim=0, puzzle_emb_len=0, T=2),
}


def main():
    folder = Path(__file__).resolve().parent.parent/'tests'/'recordings'
    folder.mkdir(exist_ok=True)
    for seed, (name, changes) in enumerate(kinds.items()):
        path = folder/f'{"-".join(re.findall("[a-z0-9]+", name.lower()))}.safetensors'
        record(path, TRMConfig(**small | changes), seed=seed, batch_size=3)
        path.chmod(0o644)


if __name__ == '__main__': main()
