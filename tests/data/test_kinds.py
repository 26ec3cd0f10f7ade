"""Data that are no images: tables, counts, files of each format, and what is refused."""

import anndata
import numpy as np
import PIL.Image
import pytest
import scipy.sparse

from vae_jax.data import DataError, Rows, from_arrays, load

RNG = np.random.default_rng(0)
REAL = RNG.normal(10.0, 3.0, (40, 3))
COUNTS = RNG.poisson(5.0, (40, 3))
PIXELS = RNG.integers(0, 256, (40, 4, 5, 3), np.uint8)


@pytest.mark.parametrize(
    ("x", "kind", "shape", "dtype"),
    [
        (REAL, "real", (3,), np.float32),
        (COUNTS, "count", (3,), np.int32),
        (COUNTS.astype(float), "count", (3,), np.int32),
        (COUNTS > 4, "binary", (3,), np.uint8),
        (RNG.random((40, 3)), "real", (3,), np.float32),
        (RNG.random((40, 4)), "intensities", (2, 2, 1), np.float32),
        (1000 * COUNTS.repeat(3, axis=1), "count", (9,), np.int32),
        (PIXELS, "8-bit", (4, 5, 3), np.uint8),
        (PIXELS > 99, "binary", (4, 5, 3), np.uint8),
        (PIXELS / 255, "intensities", (4, 5, 3), np.float32),
    ],
)
def test_what_numbers_are_is_seen_in_them(x, kind, shape, dtype):
    dataset = from_arrays(x)
    assert dataset.kind == kind
    assert dataset.train.x.shape[1:] == shape
    assert dataset.train.x.dtype == dtype


def test_a_kind_can_be_said():
    squares = RNG.integers(0, 200, (40, 16))
    assert from_arrays(squares).kind == "8-bit"
    counts = from_arrays(squares, kind="count")
    assert counts.kind == "count"
    together = np.concatenate([split.x for split in counts[1:4]])
    np.testing.assert_array_equal(np.sort(together, axis=0), np.sort(squares, axis=0))
    images = from_arrays(PIXELS, kind="real")
    assert images.train.x.shape[1:] == (4, 5, 3)
    assert images.train.x.max() > 200


def test_conditions_and_masks_stay_with_their_examples():
    x = np.arange(40.0)[:, None] + np.array([[0.25, 0.5]])
    mask = np.arange(80).reshape(40, 2) % 3 > 0
    dataset = from_arrays(x, labels=np.arange(40), condition=2 * np.arange(40), mask=mask)
    for split in dataset[1:4]:
        np.testing.assert_array_equal(split.x[:, 0] - 0.25, split.labels)
        np.testing.assert_array_equal(split.condition[:, 0], 2 * split.labels)
        np.testing.assert_array_equal(split.mask, mask[split.labels])
        assert split.condition.dtype == np.float32


def put(**values):
    x = REAL.copy()
    for place, value in values.items():
        x[tuple(map(int, place.split("_")[1:]))] = value
    return x


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        (
            {"x_train": put(at_7_1=np.nan)},
            "^x_train has nan in row 7, column 1, but .* missing values need a mask",
        ),
        (
            {"x_train": put(at_0_2=np.inf), "columns": ("a", "b", "c")},
            "^x_train has inf in row 0, column 'c', but real numbers must be finite",
        ),
        (
            {"x_train": np.where(np.arange(3) == 1, 2.5, REAL)},
            "^column 1 of x_train is 2.5 in all rows: leave constant columns out",
        ),
        ({"x_train": -COUNTS, "kind": "count"}, "^x_train has -.* in row 0, column 0, but counts"),
        ({"x_train": COUNTS + 0.5, "kind": "count"}, "^x_train has .*.5 in row 0, column 0, but"),
        ({"x_train": COUNTS, "kind": "counts"}, "^kind is 'counts' but must be auto, pixels, real"),
        ({"x_train": REAL, "columns": ("a", "b")}, r"^columns has 2 names, but x_train has the"),
        ({"x_train": REAL, "condition": REAL[:9]}, "^condition has 9 rows but x_train 40 examples"),
        ({"x_train": REAL, "condition": put(at_1_1=np.nan)}, "^condition holds NaN or infinite"),
        (
            {"x_train": REAL, "x_test": REAL, "condition": REAL},
            "^there is a condition for the training examples and none for the test ones, yet",
        ),
        ({"x_train": REAL, "mask": REAL}, r"^mask is float64 \(40, 3\) but must be bool \(40, 3\)"),
        ({"x_train": REAL, "x_test": REAL[:, :2]}, "^x_train is float64 .* but x_test is float64"),
        ({"x_train": REAL[:, 0]}, r"^x_train has shape \(40,\) but"),
    ],
)
def test_what_is_refused_is_named(arrays, said):
    with pytest.raises(DataError, match=said) as caught:
        from_arrays(**arrays)
    assert "\n" not in str(caught.value)


TABLE = "size, weight,kind\n1.5,20,b\n2.5,30,a\n3.5,10,b\n4.5,25,c\n"


def test_a_table_with_a_header_and_labels(tmp_path):
    path = tmp_path / "fruit.csv"
    path.write_text(TABLE * 1 + TABLE.split("\n", 1)[1])
    dataset = load(str(path), label_column="kind")
    assert (dataset.name, dataset.kind) == ("csv:fruit", "real")
    assert dataset.columns == ("size", "weight")
    assert dataset.label_names == ("a", "b", "c")
    for split in dataset[1:4]:
        for (size, weight), label in zip(split.x, split.labels, strict=True):
            assert f"{size},{weight:.0f},{'abc'[label]}" in TABLE


def test_a_table_without_a_header(tmp_path):
    path = tmp_path / "counts.csv"
    np.savetxt(path, COUNTS, fmt="%d", delimiter=",")
    dataset = load(str(path))
    assert (dataset.kind, dataset.columns) == ("count", ("0", "1", "2"))
    together = np.concatenate([split.x for split in dataset[1:4]])
    np.testing.assert_array_equal(np.sort(together, axis=0), np.sort(COUNTS, axis=0))
    expected = load(str(path), kind="real")
    assert (expected.kind, expected.train.x.dtype) == ("real", np.float32)


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        (
            TABLE,
            {"kind": "real"},
            "row 1, column 'kind' is 'b', which is no number: leave such columns out",
        ),
        ("a,b\n1,2\n3,x\n", {}, "row 2, column 'b' is 'x', which is no number: leave such"),
        ("a,b\n1,\n3,?\n", {}, "all cells of column 'b' are missing: leave it out"),
        ("a,b\n1,2\n3,4,5\n", {}, "row 2 has 3 cells, and the first line 2"),
        ("a,a\n1,2\n3,4\n", {}, "there are two columns 'a'"),
        ("a,b\n", {}, "there are no rows below the header"),
        ("", {}, "is empty"),
        (TABLE, {"label_column": "colour"}, "there is no column 'colour' for the labels, only"),
        (TABLE, {"image_size": (8,)}, "image_size=.* is for a folder of pictures, and not for"),
    ],
)
def test_tables_that_cannot_be_read_are_named(tmp_path, text, options, said):
    path = tmp_path / "table.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=said) as caught:
        load(str(path), **options)
    assert "\n" not in str(caught.value)


def test_arrays_of_files(tmp_path):
    np.save(tmp_path / "x.npy", REAL)
    dataset = load(str(tmp_path / "x.npy"))
    assert (dataset.name, dataset.kind, len(dataset.train)) == ("npy:x", "real", 33)
    np.savez(
        tmp_path / "c.npz",
        x_train=COUNTS,
        x_test=COUNTS,
        c_train=REAL,
        c_test=REAL,
        mask_train=COUNTS > 2,
    )
    dataset = load(str(tmp_path / "c.npz"))
    np.testing.assert_allclose(dataset.test.condition, REAL, rtol=1e-6)
    assert dataset.train.mask.dtype == bool
    (tmp_path / "bad.npy").write_bytes(b"text")
    with pytest.raises(DataError, match="bad.npy is damaged or no .npy file of numbers"):
        load(str(tmp_path / "bad.npy"))
    with pytest.raises(DataError, match="none.npy does not exist"):
        load(str(tmp_path / "none.npy"))
    with pytest.raises(DataError, match="kind=count is for PATH.npz and .*, and not for mnist_5k"):
        load("mnist_5k", kind="count")


@pytest.mark.parametrize("where", ["X", "layers", "raw"])
@pytest.mark.parametrize("sparse", [False, True])
def test_counts_of_cells_are_found(tmp_path, where, sparse):
    counts = scipy.sparse.csr_matrix(COUNTS) if sparse else COUNTS
    normalised = np.log1p(COUNTS.astype(np.float32))
    cells = anndata.AnnData(counts if where in ("X", "raw") else normalised)
    cells.var_names = ["g1", "g2", "g3"]
    if where == "raw":
        cells.raw = cells
        cells.X = normalised
    if where == "layers":
        cells.layers["counts"] = counts
    cells.obs["type"] = np.array(["B", "T"])[np.arange(40) % 2]
    cells.write_h5ad(tmp_path / "cells.h5ad")
    dataset = load(str(tmp_path / "cells.h5ad"), label_column="type")
    assert (dataset.kind, dataset.columns) == ("count", ("g1", "g2", "g3"))
    assert dataset.label_names == ("B", "T")
    rows = {tuple(row): index % 2 for index, row in enumerate(COUNTS)}
    together = [tuple(row) for split in dataset[1:4] for row in split.x]
    assert sorted(together) == sorted(map(tuple, COUNTS))
    assert dataset.test.labels.tolist() == [rows[tuple(row)] for row in dataset.test.x]


def test_cells_without_counts_say_where_they_were_looked_for(tmp_path):
    anndata.AnnData(np.log1p(COUNTS.astype(np.float32))).write_h5ad(tmp_path / "cells.h5ad")
    with pytest.raises(DataError, match="there are no raw counts in X: their values are negative"):
        load(str(tmp_path / "cells.h5ad"))
    (tmp_path / "bad.h5ad").write_bytes(b"text")
    with pytest.raises(DataError, match="bad.h5ad is no .h5ad file that can be read"):
        load(str(tmp_path / "bad.h5ad"))


def save_pictures(folder, images, ending="png"):
    folder.mkdir(parents=True)
    for index, image in enumerate(images):
        PIL.Image.fromarray(image.squeeze()).save(folder / f"{index:03}.{ending}")


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_are_read_in_the_order_of_their_names(tmp_path, channels):
    images = PIXELS[..., :channels]
    save_pictures(tmp_path / "faces" / "train" / "old", images[:10])
    save_pictures(tmp_path / "faces" / "train" / "young", images[10:20])
    save_pictures(tmp_path / "faces" / "test" / "young", images[20:25])
    told = []
    for _ in range(2):  # decoded, and from the cache
        dataset = load(f"{tmp_path}/faces", report=told.append, data_dir=str(tmp_path / "cache"))
        assert (dataset.name, dataset.kind) == ("pictures:faces", "8-bit")
        assert dataset.label_names == ("old", "young")
        np.testing.assert_array_equal(dataset.test.x, images[20:25])
        assert dataset.test.labels.tolist() == [1] * 5
        known = {bytes(image): index // 10 for index, image in enumerate(images[:20])}
        for split in dataset[1:3]:
            assert [known[bytes(np.array(x))] for x in split.x] == split.labels.tolist()
    assert len(told) == 1
    PIL.Image.fromarray(images[30].squeeze()).save(tmp_path / "faces/test/young/000.png")
    dataset = load(f"{tmp_path}/faces", data_dir=str(tmp_path / "cache"))
    np.testing.assert_array_equal(dataset.test.x[0], images[30])
    streamed = load(f"{tmp_path}/faces", data_dir=str(tmp_path / "cache"), in_memory=False)
    assert isinstance(streamed.train.x, Rows)


def test_a_folder_of_arrays_may_have_pictures_beside_them(tmp_path):
    (tmp_path / "both").mkdir()
    np.save(tmp_path / "both" / "train-0.npy", PIXELS)
    save_pictures(tmp_path / "both" / "figures", PIXELS[:5])
    assert load(f"{tmp_path}/both/").name == "shards:both"


def test_pictures_are_cropped_and_scaled(tmp_path):
    """A white square in the middle of pictures of different shapes fills what is left of them."""
    images = []
    for height, width in ((40, 20), (20, 60), (20, 20)):
        image = np.zeros((height, width), np.uint8)
        top, left = (height - 20) // 2, (width - 20) // 2
        image[top : top + 20, left : left + 20] = 255
        images.append(image)
    save_pictures(tmp_path / "squares", images)
    dataset = load(f"{tmp_path}/squares/", image_size=(10,), data_dir=str(tmp_path / "cache"))
    for split in dataset[1:4]:
        assert split.x.shape[1:] == (10, 10, 1)
        assert (split.x == 255).all()
    dataset = load(f"{tmp_path}/squares/", image_size=(4, 8), data_dir=str(tmp_path / "cache"))
    assert dataset.train.x.shape[1:] == (4, 8, 1)


def test_pictures_that_cannot_be_read_are_named(tmp_path):
    options = {"data_dir": str(tmp_path / "cache")}
    save_pictures(tmp_path / "mixed", [*PIXELS[:5], PIXELS[5, :, :4]])
    with pytest.raises(DataError, match="005.png has 4 x 4 pixels and others 4 x 5: image_size"):
        load(f"{tmp_path}/mixed/", **options)
    (tmp_path / "mixed" / "005.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match="005.png is damaged or no picture"):
        load(f"{tmp_path}/mixed/", **options)
    save_pictures(tmp_path / "one", PIXELS[:1])
    with pytest.raises(DataError, match="one has 1 pictures to train on, which are too few"):
        load(f"{tmp_path}/one/", **options)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="or pictures, but holds nothing"):
        load(f"{tmp_path}/empty/", **options)
    (tmp_path / "deep").mkdir()
    PIL.Image.fromarray(np.full((4, 4), 40_000, np.uint16)).save(tmp_path / "deep" / "0.png")
    for index in (1, 2):
        PIL.Image.fromarray(PIXELS[index]).save(tmp_path / "deep" / f"{index}.png")
    with pytest.raises(DataError, match="0.png has more than 8 bits for each pixel"):
        load(f"{tmp_path}/deep/", **options)


def test_what_scikit_learn_ships():
    digits = load("digits")
    assert (digits.kind, digits.train.x.max()) == ("count", 16)
    wine = load("wine")
    assert (wine.kind, wine.columns[0], len(wine.label_names)) == ("real", "alcohol", 3)
    photos = load("photos")
    assert (photos.kind, photos.train.x.shape[1:]) == ("8-bit", (32, 32, 3))
    # No row of pixels of a test patch is in a training patch: the regions are apart.
    train = {bytes(row) for x in photos.train.x[::7] for row in x}
    test = [bytes(row) for x in photos.test.x[::7] for row in x]
    assert not train & set(test)
