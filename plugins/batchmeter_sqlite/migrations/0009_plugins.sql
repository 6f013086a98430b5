-- Tables that plugins keep in this database: the statements that made them, so that a copy can make them too.
CREATE TABLE plugin_schema (
    plugin TEXT NOT NULL,
    version INTEGER NOT NULL,
    statements TEXT NOT NULL,
    applied_at INTEGER NOT NULL,
    PRIMARY KEY (plugin, version)
) STRICT, WITHOUT ROWID;
