"Write requirements.lock: what settings.ini asks for and all that this needs, as installed (what `make lock` runs)."

from configparser import ConfigParser
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

root = Path(__file__).resolve().parent.parent
header = """\
# Exact versions of all that settings.ini asks for and of what this needs in turn, written by `make lock`
# from the packages installed in .venv (Linux, Python 3.11, torch for CPUs). Elsewhere pip adds what a package needs
# there only: appnope on macOS, aiohttp on Python 3.12, NVIDIA's libraries for torch on GPUs.
# To move to newer versions, install them there first (pip install --upgrade NAME).
"""
build = ['setuptools', 'wheel']  # what pip needs to install the project itself when it is not to download anything


def asked() -> list[str]:
    "The requirements in settings.ini."
    cfg = ConfigParser(delimiters=['='])
    cfg.read(root / 'settings.ini', encoding='utf-8')
    return cfg['DEFAULT']['requirements'].split() + cfg['DEFAULT']['dev_requirements'].split()


def closure(requirements: list[str]) -> dict[str, str]:
    "Name and installed version of each package in `requirements`, of those that it requires here, and so on."
    versions: dict[str, str] = {}
    visited = set()
    todo = [(Requirement(r), '') for r in requirements]
    while todo:
        req, wanted_by = todo.pop()  # the requirement, and the extra of its parent that it may belong to
        if req.marker and not req.marker.evaluate({'extra': wanted_by}):
            continue
        name, dist = canonicalize_name(req.name), distribution(req.name)
        versions[name] = dist.version.split('+')[0]  # 2.13.0+cpu is a build of 2.13.0
        for extra in {'', *req.extras}:
            if (name, extra) in visited:
                continue
            visited.add((name, extra))
            todo += [(Requirement(r), extra) for r in dist.requires or []]
    return versions


def main():
    lines = [f'{name}=={version}\n' for name, version in sorted(closure(asked() + build).items())]
    (root / 'requirements.lock').write_text(header + ''.join(lines), encoding='utf-8')


if __name__ == '__main__':
    main()
