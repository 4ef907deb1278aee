"""Series of every file form, what is missing in them, and windows that never see the future."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cvtrainer.core.errors import UserError
from cvtrainer.data.datasets.series import SeriesFile, SeriesTable, SeriesWindows
from cvtrainer.data.sample import BadSample

TS = """\ufeff# a comment
@problemName two
@timeStamps false
@missing true
@univariate false
@dimensions 2
@classLabel true up down
@data
1,2,3:4,5,6:up
1,?,3,4:?,1,2,3:down
1,2:1,2,3:up
1,2:3:4:up
1,x:3,4:up
1,2:3,4:sideways
?,?:3,4:up
"""


def write(path: Path, text: str) -> Path:
    """That text in that file."""
    path.write_text(text, "utf-8")
    return path


def problem(dataset: Any, row: int) -> str:
    """What is wrong with that sample."""
    with pytest.raises(BadSample) as error:
        dataset[row]
    return f"{error.value.kind}: {error.value}"


def test_ts_with_channels_of_unequal_series_and_gaps(tmp_path: Path) -> None:
    file = write(tmp_path / "a.ts", TS)
    series = SeriesFile(file)
    assert series.classes == {"up": 0, "down": 1}
    assert len(series) == 7
    assert series[0]["x"].tolist() == [[1, 4], [2, 5], [3, 6]]
    assert series[0]["x"].dtype == np.float32
    assert series[1]["x"].tolist() == [[1, 1], [2, 1], [3, 2], [4, 3]]
    assert series[1]["target"] == {"class_id": 1}
    assert series[1]["meta"]["path"] == f"{file}:10"
    assert problem(series, 2) == f"size: {file}:11: channels of 2 to 3 values"
    assert "3 channels instead of 2" in problem(series, 3)
    assert "value: " in problem(series, 4)
    assert "'x' is not a number" in problem(series, 4)
    assert problem(series, 5).startswith("label: ")
    assert problem(series, 6) == f"empty: {file}:15: a channel has no value at all"
    kept = SeriesFile(file, missing="keep")[1]["x"]
    assert np.isnan(kept).sum() == 2
    assert "a value is missing" in problem(SeriesFile(file, missing="refuse"), 1)
    bound = SeriesFile(file, classes=["down", "flat", "up"])
    assert bound[0]["target"]["class_id"] == 2
    with pytest.raises(UserError, match="missing is 'zero'"):
        SeriesFile(file, missing="zero")  # type: ignore[arg-type]


def test_ts_with_time_stamps_and_numbers_to_predict(tmp_path: Path) -> None:
    text = (
        "@timestamps true\n@univariate true\n@targetlabel true\n@data\n"
        "(2004-10-01 10:00,1),(2004-10-01 11:00,2.5):7.5\n(0,1),(1,?),(2,3):-1\n"
    )
    series = SeriesFile(write(tmp_path / "a.ts", text))
    assert series.task == "regression"
    assert series[0]["x"].tolist() == [[1], [2.5]]
    assert series[0]["target"] == {"value": 7.5}
    assert series[1]["x"].tolist() == [[1], [2], [3]]
    with pytest.raises(UserError, match="declares no classes"):
        SeriesFile(tmp_path / "a.ts", task="classification")
    assert SeriesFile(tmp_path / "a.ts", task="generation")[0]["target"] == {}


def test_equal_length_is_held_to(tmp_path: Path) -> None:
    text = "@equalLength true\n@seriesLength 3\n@classLabel true a b\n@data\n1,2,3:a\n1,2:b\n"
    series = SeriesFile(write(tmp_path / "a.ts", text))
    assert "2 values instead of 3" in problem(series, 1)


def test_arff_of_one_and_of_several_channels(tmp_path: Path) -> None:
    one = (
        "% a comment\n@relation one\n@attribute 't 1' numeric\n@attribute t2 REAL\n"
        "@attribute class {yes, 'no way'}\n\n@data\n1,?,yes\n3,4,'no way'\n1,yes\n{1 3}\n"
    )
    series = SeriesFile(write(tmp_path / "one.arff", one))
    assert series.class_names == ("yes", "no way")
    assert series[0]["x"].tolist() == [[1], [1]]
    assert series[1]["target"] == {"class_id": 1}
    assert "2 values instead of 3" in problem(series, 2)
    assert "sparse" in problem(series, 3)
    many = (
        "@relation many\n@attribute all relational\n@attribute a0 numeric\n@attribute a1 numeric\n"
        "@end all\n@attribute class {1,2}\n@data\n'1,2\\n3,4\\n5,6',2\n"
    )
    nested = SeriesFile(write(tmp_path / "many.arff", many))
    assert nested[0]["x"].tolist() == [[1, 3, 5], [2, 4, 6]]
    assert nested[0]["target"] == {"class_id": 1}
    number = "@attribute a numeric\n@attribute b numeric\n@attribute y numeric\n@data\n1,2,9\n"
    valued = SeriesFile(write(tmp_path / "y.arff", number), task="regression")
    assert valued[0]["x"].shape == (2, 1)
    assert valued[0]["target"] == {"value": 9.0}
    assert SeriesFile(tmp_path / "y.arff")[0]["x"].shape == (3, 1)


def test_tsf_keeps_the_horizon_as_target(tmp_path: Path) -> None:
    text = (
        "# comment\n@relation r\n@attribute name string\n@attribute start date\n@horizon 2\n"
        "@missing true\n@data\nT1:1972-01-01 00-00-00:1,2,?,4,5,6\nT2:x:1,2\nT3:1,2,3\n"
        "T4:x:1,2,3,?\n"
    )
    file = write(tmp_path / "a.tsf", text)
    series = SeriesFile(file)
    assert series.task == "regression"
    assert series[0]["x"].tolist() == [[1], [2], [3], [4]]
    assert series[0]["target"]["value"].tolist() == [5, 6]
    assert "2 values are too few for a horizon of 2" in problem(series, 1)
    assert "1 attributes instead of 2" in problem(series, 2)
    assert "to be forecast is missing" in problem(series, 3)
    assert SeriesFile(file, horizon=3)[0]["target"]["value"].tolist() == [4, 5, 6]
    windows = SeriesWindows(file, window=2, horizon=1)
    assert windows.groups is not None
    assert set(windows.groups) == {"8", "11"}


def test_no_file_of_series(tmp_path: Path) -> None:
    for name, words in {"a.txt": "no file of series", "gone.ts": "no such file"}.items():
        if name != "gone.ts":
            write(tmp_path / name, "1,2")
        with pytest.raises(UserError, match=words):
            SeriesFile(tmp_path / name)
    for name in ("a.ts", "a.arff", "a.tsf"):
        with pytest.raises(UserError, match="no @data line"):
            SeriesFile(write(tmp_path / name, "@relation r\n"))


def test_a_split_names_the_file_in_a_folder(tmp_path: Path) -> None:
    for split, value in (("TRAIN", 1), ("TEST", 2)):
        write(tmp_path / f"walk_{split}.ts", f"@classlabel true a b\n@data\n{value}:a\n")
    assert SeriesFile(tmp_path, split="train")[0]["x"].tolist() == [[1]]
    assert SeriesFile(tmp_path, split="test")[0]["x"].tolist() == [[2]]
    with pytest.raises(UserError, match=r"more than one file of series.*walk_TEST\.ts, walk_TRAIN"):
        SeriesFile(tmp_path)
    with pytest.raises(UserError, match=r"no file of series for split 'val'.*walk_TEST\.ts"):
        SeriesFile(tmp_path, split="val")


def test_tables_in_long_form(tmp_path: Path) -> None:
    rows = "who,t,a,b,kind\nk1,2,20,0.5,up\nk2,1,7,,down\nk1,1,10,0.25,up\nk2,2,8,1,down\n"
    file = write(tmp_path / "a.csv", rows + "k3,1,1,1,up\nk3,2,1,1,down\n")
    series = SeriesTable(file, series="who", time="t", target="kind")
    assert series.class_names == ("down", "up")
    assert series[0]["x"].tolist() == [[10, 0.25], [20, 0.5]]
    assert series[1]["x"].tolist() == [[7, 1], [8, 1]]
    assert series[1]["meta"]["path"] == f"{file}:k2"
    assert "2 targets in one series" in problem(series, 2)
    unsorted = SeriesTable(file, series="who", columns=["a"], target="kind")
    assert unsorted[0]["x"].tolist() == [[20], [10]]
    tabs = write(tmp_path / "a.tsv", "who\tv\ty\n1\t1\t0.5\n1\t2\t0.5\n2\t3\tNA\n")
    valued = SeriesTable(tabs, series="who", target="y", task="regression")
    assert valued[0]["target"] == {"value": 0.5}
    assert "no target" in problem(valued, 1)
    with pytest.raises(UserError, match=r"no column who2.*who, t, a, b, kind"):
        SeriesTable(file, series="who2", target="kind")
    with pytest.raises(UserError, match="column kind holds something that is no number"):
        SeriesTable(file, series="who", columns=["kind"], task="generation")


def test_windows_and_their_future(tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", "v\n" + "\n".join(str(k) for k in range(10)))
    windows = SeriesWindows(file, window=4, horizon=2, stride=2)
    assert len(windows) == 3
    assert windows[1]["x"].tolist() == [[2], [3], [4], [5]]
    assert windows[1]["target"]["value"].tolist() == [6, 7]
    assert windows[1]["meta"]["path"] == f"{file}[2:6]"
    assert windows[1]["meta"]["start"] == 2
    train = SeriesWindows(file, window=2, part=(0, 0.6))
    late = SeriesWindows(file, window=2, part=(0.6, 1))
    assert max(s["target"]["value"].max() for s in train) < min(s["x"].min() for s in late)
    assert (len(train), len(late)) == (4, 2)
    again = pickle.loads(pickle.dumps(windows))
    assert again[2]["x"].tolist() == windows[2]["x"].tolist()
    windows[1]["x"][:] = 0
    assert windows[1]["x"].max() == 5


def test_gaps_are_filled_from_inside_the_window_only(tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", "t,v\n" + "0,0\n1,?\n2,2\n3,\n4,NaN\n5,50\n6,60\n7,70\n")
    words = {"window": 3, "horizon": 1, "columns": ["v"]}
    windows = SeriesWindows(file, **words)
    starts = [s["meta"]["start"] for s in windows]
    assert starts == [2, 3, 4]
    assert windows.left_out == 2
    assert windows[0]["x"].tolist() == [[2], [2], [2]]
    assert windows[1]["x"].tolist() == [[50], [50], [50]]
    assert [s["meta"]["start"] for s in SeriesWindows(file, **words, missing="keep")] == starts
    with pytest.raises(UserError, match=r"no series has 3 \+ 1 values"):
        SeriesWindows(file, **words, missing="refuse")
    assert len(SeriesWindows(file, **{**words, "window": 2}, missing="refuse")) == 1
    with pytest.raises(UserError, match=r"2 columns hold numbers.*Name those"):
        SeriesWindows(file, window=2)
    with pytest.raises(UserError, match="must be 1 or more"):
        SeriesWindows(file, window=0)


def test_windows_of_several_series_and_columns(tmp_path: Path) -> None:
    rows = "".join(f"{who},{k},{k + who}\n" for k in range(4) for who in (0, 100))
    file = write(tmp_path / "a.csv", "who,a,b\n" + rows)
    windows = SeriesWindows(file, window=2, columns=["a", "b"], series="who")
    assert windows.groups == ["0", "0", "100", "100"]
    assert windows[2]["x"].tolist() == [[0, 100], [1, 101]]
    assert windows[2]["target"]["value"].tolist() == [[2, 102]]


def test_real_labelled_series(data_sets: Path) -> None:
    aeon = data_sets / "tables-series-text" / "aeon"
    counts = {"TRAIN": 67, "TEST": 1029}
    for split, count in counts.items():
        ts = SeriesFile(aeon / f"ItalyPowerDemand/ItalyPowerDemand_{split}.ts")
        arff = SeriesFile(aeon / f"ItalyPowerDemand/ItalyPowerDemand_{split}.arff")
        assert len(ts) == len(arff) == count
        assert ts.class_names == arff.class_names == ("1", "2")
        for one, other in zip(ts, arff, strict=True):
            np.testing.assert_array_equal(one["x"], other["x"])
            assert one["x"].shape == (24, 1)
            assert one["target"] == other["target"]
    for split in counts:
        motions = SeriesFile(aeon / f"BasicMotions/BasicMotions_{split}.ts")
        assert len(motions) == 40
        assert motions.class_names == ("Standing", "Running", "Walking", "Badminton")
        assert motions.labels is not None
        assert np.bincount(motions.labels).tolist() == [10] * 4
        assert {s["x"].shape for s in motions} == {(100, 6)}


def test_real_series_to_forecast(data_sets: Path) -> None:
    tables = data_sets / "tables-series-text"
    yearly = SeriesFile(tables / "aeon/m1_yearly_dataset/m1_yearly_dataset.tsf")
    assert len(yearly) == 181
    assert {s["target"]["value"].shape for s in yearly} == {(6,)}
    assert len({s["x"].shape for s in yearly}) > 10
    airline = SeriesWindows(tables / "aeon/Airline/Airline.csv", window=12)
    assert len(airline) == 144 - 12
    assert airline[0]["target"]["value"].tolist() == [115]
    spots = SeriesWindows(
        tables / "statsmodels/sunspots/sunspots.csv", window=20, columns=["SUNACTIVITY"]
    )
    assert len(spots) == 309 - 20
    co2 = tables / "statsmodels/co2/co2.csv"
    one = SeriesWindows(co2, window=1, columns=["co2"], missing="keep")
    assert (len(one), one.left_out) == (2284 - 1 - 59, 59)
    longer = SeriesWindows(co2, window=52, horizon=4, columns=["co2"])
    assert all(np.isfinite(s["x"]).all() for s in longer)
