"""Tables with columns of several types, missing cells, and values that are hidden on purpose."""

import gzip

import numpy as np
import pytest

from vae_jax import data
from vae_jax.data import Column, from_arrays, load, load_whole
from vae_jax.errors import DataError

TEXT = """height,colour,visits,member,grade,change
1.5,red,3,1,2,-0.5
2.5,blue,0,0,1,0.25
,red,7,1,?,1.5
3.5,green,1,NA,3,0.5
0.5,blue,2,0,1,-1.0
"""
TYPES = "type,dim,nclass\npos,1,\ncat,3,3\ncount,1,\nbinary,1,2\nordinal,3,3\nreal,1,\n"
SCHEMA = (
    Column("height", "positive"),
    Column("colour", "categorical", ("blue", "green", "red")),
    Column("visits", "count"),
    Column("member", "binary", ("0", "1")),
    Column("grade", "ordinal", ("1", "2", "3")),
    Column("change", "real"),
)
VALUES = np.array(
    [
        [1.5, 2, 3, 1, 1, -0.5],
        [2.5, 0, 0, 0, 0, 0.25],
        [1.5, 2, 7, 1, 1, 1.5],
        [3.5, 1, 1, 1, 2, 0.5],
        [0.5, 0, 2, 0, 0, -1.0],
    ],
    np.float32,
)
MISSING = [(2, 0), (2, 4), (3, 3)]


def written(tmp_path, text=TEXT, types=TYPES):
    table, schema = tmp_path / "people.csv", tmp_path / "types.csv"
    table.write_text(text)
    schema.write_text(types)
    return str(table), str(schema)


def test_a_table_with_types_is_coded_and_masked(tmp_path):
    table, schema = written(tmp_path)
    name, found = load_whole(table, schema=schema)
    assert (name, found.kind, found.schema) == ("csv:people", "mixed", SCHEMA)
    np.testing.assert_array_equal(found.train.x, VALUES)
    assert list(zip(*np.nonzero(~found.train.mask), strict=True)) == MISSING
    dataset = load(table, schema=schema)
    assert (dataset.kind, dataset.schema) == ("mixed", SCHEMA)
    rows = np.concatenate([split.x for split in dataset[1:4]])
    np.testing.assert_array_equal(np.sort(rows, axis=0), np.sort(VALUES, axis=0))


def test_a_gzipped_table_is_the_same(tmp_path):
    table, schema = written(tmp_path)
    packed = tmp_path / "people.csv.gz"
    packed.write_bytes(gzip.compress(TEXT.encode()))
    name, found = load_whole(str(packed), schema=schema)
    assert name == "csv:people"
    np.testing.assert_array_equal(found.train.x, load_whole(table, schema=schema)[1].train.x)
    packed.write_bytes(b"no gzip")
    with pytest.raises(DataError, match="cannot be read"):
        load(str(packed))


def test_types_are_inferred_and_said(tmp_path):
    table, _ = written(tmp_path)
    said = []
    _, found = load_whole(table, report=said.append)
    assert [column.kind for column in found.schema] == [
        "positive", "categorical", "count", "binary", "count", "real",
    ]  # fmt: skip
    assert "colour categorical" in said[0]
    path = tmp_path / "numbers.csv"
    path.write_text("a,b\n1,0.5\n0,1.5\n")
    assert load_whole(str(path))[1].kind == "real"
    assert [column.kind for column in load_whole(str(path), kind="mixed")[1].schema] == [
        "binary", "positive",
    ]  # fmt: skip


def test_a_table_of_texts_without_a_header(tmp_path):
    path = tmp_path / "raw.csv"
    path.write_text("39,State,1\n50,Private,2\n38,State,3\n53,Private,4\n")
    _, found = load_whole(str(path))
    assert found.columns == ("0", "1", "2")
    assert len(found.train) == 4


def test_missing_cells_of_a_table_of_numbers_are_a_mask(tmp_path):
    path = tmp_path / "numbers.csv"
    path.write_text("a,b\n1.5,2\n,3\n2.5,nan\n")
    _, found = load_whole(str(path))
    assert found.kind == "real"
    assert found.train.mask.tolist() == [[True, True], [False, True], [True, False]]
    np.testing.assert_array_equal(found.train.x, [[1.5, 2], [1.5, 3], [2.5, 2]])


def test_another_table_has_the_codes_of_the_run(tmp_path):
    table, _ = written(tmp_path, "height,colour\n1,red\n2,green\n")
    known = (SCHEMA[0], SCHEMA[1])
    _, found = load_whole(table, schema=known)
    np.testing.assert_array_equal(found.train.x[:, 1], [2, 1])
    table, _ = written(tmp_path, "height,colour\n1,red\n2,pink\n")
    with pytest.raises(DataError, match="row 2, column 'colour' is 'pink', a category that is non"):
        load_whole(table, schema=known)
    table, _ = written(tmp_path, "height,color\n1,red\n2,pink\n")
    with pytest.raises(DataError, match="the columns are height, color, and those of the run hei"):
        load_whole(table, schema=known)


@pytest.mark.parametrize(
    ("text", "types", "said"),
    [
        (TEXT, TYPES.replace("pos", "float"), "line 1 has the type 'float', which is none of"),
        (TEXT, TYPES.rsplit("real", 1)[0], "types of 5 columns, and the table has 6"),
        (TEXT, "kind\n", "the first line must name a column type"),
        (TEXT.replace("2.5", "-2.5"), TYPES, "row 2, column 'height' is -2.5, but positive"),
        (TEXT.replace("red,3", "red,3.5"), TYPES, "row 1, column 'visits' is 3.5, but counts"),
        (TEXT.replace("red,3", "red,x"), TYPES, "row 1, column 'visits' is 'x', which is no num"),
        (TEXT.replace(",1,2,", ",2,2,"), TYPES, "column 'member' is binary and has 3 different"),
        ("a,b\n1,\n2,\n", "type\nreal\nreal\n", "all cells of column 'b' are missing"),
        ("a,b\n1,x\n2,x\n", "type\nreal\ncat\n", "column 'b' is categorical and has 1 different"),
    ],
)
def test_tables_that_are_not_of_their_types_are_named(tmp_path, text, types, said):
    table, schema = written(tmp_path, text, types)
    with pytest.raises(DataError, match=said) as caught:
        load(table, schema=schema)
    assert "\n" not in str(caught.value)


def test_a_column_of_numbers_and_texts_is_no_column_of_categories(tmp_path):
    path = tmp_path / "typo.csv"
    path.write_text("a,b,c\n1,x,2\n2,y,2.l\n3,z,4\n")
    with pytest.raises(DataError, match="row 2, column 'c' is '2.l', which is no number, and oth"):
        load(str(path))


def test_listed_values_are_hidden_and_kept(tmp_path):
    table, schema = written(tmp_path)
    listing = tmp_path / "hidden.csv"
    listing.write_text("row,column\n1,2\n5,6\n3,1\n")
    _, found = load_whole(table, schema=schema, missing=str(listing))
    split = found.train
    assert list(zip(*np.nonzero(split.hidden), strict=True)) == [(0, 1), (4, 5)]
    assert list(zip(*np.nonzero(~split.mask), strict=True)) == sorted([*MISSING, (0, 1), (4, 5)])
    np.testing.assert_array_equal(split.x, VALUES)
    _, found = load_whole(table, schema=schema, missing=str(listing), label_column="height")
    assert list(zip(*np.nonzero(found.train.hidden), strict=True)) == [(0, 0), (4, 4)]
    for line in ("6,1", "1,7", "0,1", "1", "x,y"):
        listing.write_text(f"1,1\n{line}\n")
        with pytest.raises(DataError, match="must be a row in 1..5 and a column in 1..6"):
            load(table, schema=schema, missing=str(listing))


def test_values_are_hidden_at_random_at_their_rate():
    """The share of 50,000 values within 5 standard errors; each row keeps one."""
    x = np.random.default_rng(0).normal(size=(10_000, 5))
    dataset = data.with_hidden(from_arrays(x), 0.3, seed=1)
    for split in dataset[1:4]:
        share, number = split.hidden.mean(), split.hidden.size
        expected = 0.3 - 0.3**5 / 5
        assert abs(share - expected) < 5 * np.sqrt(0.3 * 0.7 / number)
        np.testing.assert_array_equal(split.mask, ~split.hidden)
        assert split.mask.any(axis=1).all()
    again = data.with_hidden(from_arrays(x), 0.3, seed=1)
    np.testing.assert_array_equal(again.train.hidden, dataset.train.hidden)
    other = data.with_hidden(from_arrays(x), 0.3, seed=2)
    assert (other.train.hidden != dataset.train.hidden).any()
    with pytest.raises(DataError, match="must be a rate above 0 and below 1"):
        data.with_hidden(from_arrays(x), 1.5, seed=0)


def test_rows_in_memory_have_a_schema():
    dataset = from_arrays(np.tile(VALUES, (4, 1)), schema=SCHEMA, labels=np.arange(20) % 2)
    assert (dataset.kind, dataset.columns[1]) == ("mixed", "colour")
    wrong = VALUES.copy()
    wrong[1, 1] = 3
    with pytest.raises(DataError, match="row 1, column 'colour' is 3, but must be a code in 0..2"):
        from_arrays(wrong, schema=SCHEMA)
    with pytest.raises(DataError, match="the schema has 6 columns"):
        from_arrays(VALUES[:, :4], schema=SCHEMA)
    with pytest.raises(DataError, match=r"kind=mixed is for \.csv files"):
        from_arrays(VALUES, kind="mixed")


def test_missing_labels_are_minus_one(tmp_path):
    path = tmp_path / "labelled.csv"
    path.write_text("a,b,class\n1.5,2,x\n2.5,3,\n3.5,4,y\n")
    _, found = load_whole(str(path), label_column="class")
    assert found.train.labels.tolist() == [0, -1, 1]
    assert found.label_names == ("x", "y")


def test_options_of_tables_are_for_tables():
    for options in ({"schema": "types.csv"}, {"missing": "hidden.csv"}):
        with pytest.raises(DataError, match="is for PATH.csv and PATH.csv.gz, and not for digits"):
            load("digits", **options)
    with pytest.raises(DataError, match="kind=mixed is for PATH.csv"):
        load("rows.npz", kind="mixed")
