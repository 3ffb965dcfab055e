"Settings of Sphinx for the book (see __main__.py). Nothing is executed, and nothing is fetched."

import sys
from importlib.metadata import files
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from settings import SETTINGS  # noqa: E402

project, author = SETTINGS['title'], SETTINGS['author']
copyright = SETTINGS['copyright']
version = release = SETTINGS['version']
extensions = ['myst_nb', 'sphinx.ext.mathjax', 'sphinx_copybutton']
nitpicky = True  # a name without an entry in the API reference is an error
add_module_names = False
toc_object_entries_show_parents = 'hide'
modindex_common_prefix = ['trm_nbdev.']

nb_execution_mode = 'off'
nb_render_markdown_format = 'myst'
nb_code_prompt_show = 'Show the code'
nb_code_prompt_hide = 'Fold the code'
myst_enable_extensions = ['amsmath', 'colon_fence', 'dollarmath', 'html_image']
myst_heading_anchors = 4
myst_heading_slug_func = 'pages.slug'

copybutton_selector = 'div.highlight:not(.cell_output *) > pre'  # code has a button that copies it, outputs have none

html_theme = 'sphinx_book_theme'
html_title = project
html_baseurl = SETTINGS['doc_host'] and SETTINGS['doc_host'] + SETTINGS['doc_baseurl']
html_static_path = [str(Path(__file__).parent / 'static')]
html_css_files = ['book.css']
html_copy_source = False
html_use_index = html_domain_indices = False  # the sidebar lists modules and names
html_show_sourcelink = False
html_context = {'default_mode': 'auto'}  # dark where the reader's system is
html_last_updated_fmt = None
html_theme_options = {
    'show_navbar_depth': 1,
    'show_toc_level': 2,
    'navbar_persistent': [],  # the search stands in the sidebar
    'use_download_button': False,
    'use_fullscreen_button': False,
    'pygments_light_style': 'a11y-high-contrast-light',
    'pygments_dark_style': 'github-dark',
}
if SETTINGS['git_url']:
    html_theme_options |= {'repository_url': SETTINGS['git_url'], 'use_repository_button': True}

# The files of MathJax that a page can need, from a package that holds all of them. Mathematics is TeX, set in CSS.
mathjax_path = 'mathjax/tex-chtml-full.js'
mathjax3_config = {'options': {'enableMenu': False}}  # the menu would look for files that are not here
_mathjax = [file for file in files('sphinx-mathjax-offline') or [] if 'mathjax' in file.parts]
_needed = [f for f in _mathjax if f.name == 'tex-chtml-full.js' or f.suffix == '.woff']


def copy_mathjax(app, error: Exception | None):
    "Put MathJax beside the pages."
    for file in _needed if error is None else []:
        target = Path(app.outdir, '_static', *file.parts[file.parts.index('mathjax') :])
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.read_binary())


def setup(app):
    app.connect('build-finished', copy_mathjax)
