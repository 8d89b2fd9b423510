-- Who may write for a job; a lease that was given back keeps its row, for its token must go on growing.
create table lease (
    name text collate "C" primary key, holder text not null, token bigint not null, until bigint not null);

-- Governed re-reading and re-sending, planned into chunks before anything runs.
create table backfill (
    id bigint generated always as identity primary key, kind text not null, target text not null, spec text not null,
    state text not null, why text, note text, asked bigint not null, started bigint, ended bigint, run bigint,
    before text);
create table backfill_chunk (
    backfill bigint not null references backfill, n bigint not null, label text not null, spec text not null,
    rows bigint not null, state text not null, why text, ended bigint, primary key (backfill, n));
create index quarantine_waits on quarantine (dataset, first_run) where status = 'open';
