-- The definitions that pipelines and feeds last worked with; a text that was once used stays, by its digest.
create table definition_text (digest text primary key, text text not null) without rowid;
create table definition (
    owner text not null, path text not null, digest text not null references definition_text, since integer not null,
    primary key (owner, path)) without rowid;
-- Which version of a mapping a run used, so that claims can be told by the version that made them.
create table run_mapping (
    run integer not null, stream integer not null, mapping text not null,
    primary key (stream, run, mapping)) without rowid;
