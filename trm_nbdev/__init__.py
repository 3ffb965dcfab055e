__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    "`trm_nbdev.solve_puzzle`, imported when it is asked for: `import trm_nbdev` alone stays quick."
    if name == 'solve_puzzle':
        from .engine.own_puzzles import solve_puzzle

        return solve_puzzle
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
