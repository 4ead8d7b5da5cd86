"""Databases that MLflow made, and everything they hold."""

import sqlite3
from pathlib import Path

import sqlalchemy
from sqlalchemy.pool import NullPool

_DUMPS = Path(__file__).parents[1] / "golden" / "mlflow"
OLD_RELEASES = tuple(sorted(file.stem for file in _DUMPS.glob("*.sql")))


def old_database(release: str, path: Path) -> str:
    """The database of an older MLflow as an SQLite file; its schema revision."""
    connection = sqlite3.connect(path)
    connection.executescript((_DUMPS / f"{release}.sql").read_text(encoding="utf-8"))
    (revision,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    connection.close()
    return str(revision)


def everything_in(url: str) -> dict[str, object]:
    """Every table of a database with its columns, indexes and rows."""
    engine = sqlalchemy.create_engine(url, poolclass=NullPool)
    found: dict[str, object] = {}
    with engine.connect() as connection:
        inspector = sqlalchemy.inspect(connection)
        for name in sorted(inspector.get_table_names()):
            table = sqlalchemy.table(name, *(sqlalchemy.column(c["name"]) for c in inspector.get_columns(name)))
            rows = connection.execute(sqlalchemy.select(table)).all()
            indexes = sorted(str(sorted(map(str, index.items()))) for index in inspector.get_indexes(name))
            columns = [(column["name"], str(column["type"])) for column in inspector.get_columns(name)]
            found[name] = (columns, indexes, sorted(map(repr, rows)))
    return found
