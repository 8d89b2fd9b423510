-- The definitions that pipelines and feeds last worked with; a text that was once used stays, by its digest.
create table definition_text (digest text collate "C" primary key, text text not null);
create table definition (
    owner text collate "C" not null, path text collate "C" not null, digest text collate "C" not null references definition_text,
    since bigint not null, primary key (owner, path));
-- Which version of a mapping a run used, so that claims can be told by the version that made them.
create table run_mapping (
    run bigint not null, stream bigint not null, mapping text not null, primary key (stream, run, mapping));
