"""What the chapter on files cannot show: bad files case by case."""

import pytest

from trm_nbdev.engine.files import check_left, csv_folder, draw_rows, read_rows

HEADER = b'source,question,answer,rating\n'


@pytest.mark.parametrize(
    'data, message',
    [
        (b'', "expected the columns source,question,answer,rating, got ''"),
        (b'question,answer\n', "expected the columns source,question,answer,rating, got 'question,answer'"),
        (HEADER + b'me,1,2\n', "row 1: expected 4 fields, got 3: 'me,1,2'"),
        (HEADER + b'me,1,2,3\nme,1,2,3,4\n', 'row 2: expected 4 fields, got 5'),
        (HEADER + b'me,1,\xff,0\n', 'row 1: expected UTF-8, got the byte 0xff'),
        (HEADER + b'me,1,2,' + b'0' * 200_000, 'row 1: cannot be read: field larger than field limit'),
    ],
)
@pytest.mark.parametrize('mark', [b'', b'\xef\xbb\xbf'])  # some programs write such a mark first; it does no harm
def test_a_wrong_file_is_refused_with_its_name_and_row(tmp_path, mark, data, message):
    path = tmp_path / 'test.csv'
    path.write_bytes(mark + data)
    with pytest.raises(ValueError, match=message) as error:
        list(read_rows(path))
    assert str(error.value).startswith(str(path))


def test_empty_lines_do_not_count(tmp_path):
    path = tmp_path / 'test.csv'
    path.write_bytes(HEADER + b'\nme,1,2,3\n\nme,4,5,6\n')
    assert list(read_rows(path)) == [
        (f'{path}, row 1: ', ['me', '1', '2', '3']),
        (f'{path}, row 2: ', ['me', '4', '5', '6']),
    ]


def test_missing_files_and_rows_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match='expected train.csv and test.csv there or in its folder toys'):
        csv_folder(tmp_path, 'toys')
    for name in ('train.csv', 'test.csv'):
        (tmp_path / name).write_bytes(HEADER + b'me,1,2,3\n' * 5)
    with pytest.raises(ValueError, match='train.csv: expected at least n_train=6 rows, got 5'):
        draw_rows(tmp_path, 6, 0, 3, seed=0)
    with pytest.raises(ValueError, match='test.csv: expected at least n_test=6 rows, got 5'):
        draw_rows(tmp_path, 3, 0, 6, seed=0)
    with pytest.raises(ValueError, match='seed is -1, expected a whole number from 0'):
        draw_rows(tmp_path, 3, 0, 1, seed=-1)
    with pytest.raises(ValueError, match='test.csv: all 5 rows that were drawn are copies'):
        check_left(tmp_path / 'test.csv', 5, 0)
