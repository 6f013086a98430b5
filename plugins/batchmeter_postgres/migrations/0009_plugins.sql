-- Tables that plugins keep in this database: the statements that made them, so that a copy can make them too.
CREATE TABLE batchmeter.plugin_schema (
    plugin text NOT NULL,
    version integer NOT NULL,
    statements text NOT NULL,
    applied_at bigint NOT NULL,
    PRIMARY KEY (plugin, version)
);
