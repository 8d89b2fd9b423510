-- Who may write for a job; a lease that was given back keeps its row, for its token must go on growing.
create table lease (
    name text primary key, holder text not null, token integer not null, until integer not null) without rowid;

-- Governed re-reading and re-sending, planned into chunks before anything runs.
create table backfill (
    id integer primary key, kind text not null, target text not null, spec text not null, state text not null,
    why text, note text, asked integer not null, started integer, ended integer, run integer, before text);
create table backfill_chunk (
    backfill integer not null references backfill, n integer not null, label text not null, spec text not null,
    rows integer not null, state text not null, why text, ended integer, primary key (backfill, n)) without rowid;
create index quarantine_waits on quarantine (dataset, first_run) where status = 'open';
create index batch_waits on batch (feed) where durable = 0;
