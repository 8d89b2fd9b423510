-- What a dataset's source offered, one version for each time that it changed.
create table shape (
    dataset text not null, version integer not null, columns text not null, since integer not null,
    last integer not null, used integer not null default 0, approved integer, why text,
    primary key (dataset, version)) without rowid;
