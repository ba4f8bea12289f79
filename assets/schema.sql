-- The tables of a store file, of `ckf_demo.data.store_tables.SCHEMA_VERSION`. `position` is the dense
-- index in `Prepared`. Searches compare `folded`, `core`, `names` and `facts`. Interactions stand in
-- the order of
-- (user_position, position), so that a history takes few blocks of the file.

CREATE TABLE meta (
    schema_version INTEGER NOT NULL,
    dataset VARCHAR NOT NULL,
    hash VARCHAR NOT NULL,
    texts VARCHAR NOT NULL,
    split_time BIGINT NOT NULL
);
CREATE TABLE users (
    position INTEGER PRIMARY KEY,
    id VARCHAR UNIQUE NOT NULL,
    age INTEGER,
    gender VARCHAR,
    occupation VARCHAR,
    n_before INTEGER,
    n_total INTEGER,
    default_at BIGINT
);
CREATE TABLE items (
    position INTEGER PRIMARY KEY,
    id VARCHAR UNIQUE NOT NULL,
    title VARCHAR NOT NULL,
    year INTEGER,
    genres VARCHAR[] NOT NULL,
    directors VARCHAR[] NOT NULL,
    actors VARCHAR[] NOT NULL,
    tags VARCHAR[] NOT NULL,
    countries VARCHAR[] NOT NULL,
    languages VARCHAR[] NOT NULL,
    description VARCHAR NOT NULL,
    names VARCHAR[] NOT NULL,
    facts VARCHAR NOT NULL,
    folded VARCHAR NOT NULL,
    core VARCHAR NOT NULL,
    n_ratings INTEGER,
    mean_rating DOUBLE
);
CREATE TABLE interactions (
    position INTEGER NOT NULL,
    user_position INTEGER NOT NULL,
    item_position INTEGER NOT NULL,
    rating FLOAT NOT NULL,
    moment BIGINT NOT NULL,
    source_row INTEGER NOT NULL,
    split TINYINT NOT NULL,
    text VARCHAR
);
