"""What the chapter on pictures cannot show: what is in a movie, and bad input case by case."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from trm_nbdev.puzzles.pictures import animate, step_titles, strip


def draw(ax, k):
    ax.imshow(np.arange(9).reshape(3, 3) > k)


def movie():
    return animate(draw, ['question', 'one', 'two', 'three'], width=1, seconds=0.5)


@pytest.mark.parametrize(
    'call, message',
    [
        (lambda: animate(draw, []), 'at least one title and seconds above 0, got 0'),
        (lambda: animate(draw, ['one'], seconds=0), 'seconds above 0, got 1 and 0'),
        (lambda: animate(draw, ['one'], seconds=-1), 'seconds above 0, got 1 and -1'),
        (lambda: step_titles(np.zeros((4, 9)), ['one']), 'got 1 for 4'),
        (lambda: step_titles(np.zeros((0, 9))), 'at least one prediction, got 0 for 0'),
    ],
)
def test_a_wrong_argument_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_movie_is_a_gif_with_a_picture_for_each_step(tmp_path):
    movie().save_gif(tmp_path / 'movie.gif')
    assert (tmp_path / 'movie.gif').read_bytes() == movie().gif
    with Image.open(tmp_path / 'movie.gif') as gif:
        assert (gif.format, gif.n_frames, gif.info['duration'], gif.info['loop']) == ('GIF', 4, 500, 0)
        pictures, times = set(), []
        for k in range(4):
            gif.seek(k)
            pictures.add(gif.convert('RGB').tobytes())
            times.append(gif.info['duration'])
    assert len(pictures) == 4 and times == [500, 500, 500, 1500]


def test_a_notebook_shows_the_gif_itself():
    page = movie()._repr_html_()
    picture = page.partition('base64,')[2].partition('"')[0]
    with Image.open(io.BytesIO(base64.b64decode(picture))) as gif:
        assert gif.n_frames == 4
    assert 'http' not in page and '<script' not in page


@pytest.mark.parametrize('frames, rows, cols', [(1, 1, 1), (8, 1, 8), (9, 2, 8), (17, 3, 8)])
def test_a_strip_has_at_most_eight_frames_in_a_row(frames, rows, cols):
    figure = strip(draw, [str(k) for k in range(frames)], width=0.5)
    assert len(figure.axes) == rows * cols
    assert [ax.get_title() for ax in figure.axes if ax.axison] == [str(k) for k in range(frames)]
