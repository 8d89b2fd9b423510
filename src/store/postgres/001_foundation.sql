-- The fixed tables. Times are microseconds since 1970 where only the program reads them, timestamptz where people do.
create table meta (name text primary key, value text not null);
create table register (id bigint generated always as identity primary key, name text not null unique);
create table register_field (
    id bigint generated always as identity primary key, register bigint not null references register, name text not null,
    kind text not null, unique (register, name));
create table stream (
    id bigint generated always as identity primary key, system text not null, dataset text not null,
    register text not null, version bigint not null default 0, claims bigint not null default 0,
    unique (system, dataset, register));
comment on column stream.version is 'counts the commits that touched its claims';
comment on column stream.claims is 'how many claims it has';
create table layout (
    id bigint generated always as identity primary key, register text not null, fields text not null,
    unique (register, fields));

create table run (
    id bigint generated always as identity primary key, pipeline text not null, kind text not null,
    status text not null, why text, started bigint not null, ended bigint, definitions text not null);
create index run_pipeline on run (pipeline, id);
create table file (
    id bigint generated always as identity primary key, dataset text not null, name text not null,
    digest text not null, bytes bigint not null, status text not null, why text, at bigint not null, resume text,
    chunks bigint not null default 0, unique (dataset, digest));

-- What one source row says about one entity.
create table claim (
    id bigint not null, stream bigint not null, key text collate "C" not null, occurrence bigint not null,
    entity bigint not null, digest bigint not null, updated bigint not null, file bigint not null, row bigint not null,
    run bigint not null, layout bigint not null, vals bytea not null, primary key (entity, id));
create unique index claim_key on claim (stream, key, occurrence);
-- Earlier states of claims: what was said, until which run.
create table claim_past (
    id bigint not null, until_run bigint not null, stream bigint not null, key text collate "C" not null,
    occurrence bigint not null, entity bigint not null, digest bigint not null, updated bigint not null,
    file bigint not null, row bigint not null, run bigint not null, layout bigint not null, vals bytea not null,
    primary key (id, until_run, run, row));
-- Which claims a full extract has shown so far.
create table seen (
    file bigint not null, stream bigint not null, chunk bigint not null, ids bytea not null,
    primary key (file, stream, chunk));

create table identity (
    field bigint not null, value text collate "C" not null, entity bigint not null, primary key (field, value));
create index identity_entity on identity (entity);
create table merged (
    entity bigint primary key, register text not null, into_entity bigint not null, run bigint not null,
    at bigint not null);

create table quarantine (
    id bigint generated always as identity primary key, dataset text not null, register text not null,
    key text collate "C", digest bigint not null, status text not null, why text, file bigint not null,
    row bigint not null, line bigint not null, byte bigint not null, mapping text not null, reasons jsonb not null,
    raw bytea not null, cells text, first_run bigint not null, last_run bigint not null,
    unique (dataset, register, digest));
create index quarantine_open on quarantine (dataset, register, key) where status = 'open';

create table ledger (
    run bigint not null, register text collate "C" not null, file bigint not null, chunk bigint not null,
    read bigint not null, undecodable bigint not null, filtered bigint not null, quarantined bigint not null,
    mapped bigint not null, new bigint not null, changed bigint not null, unchanged bigint not null,
    superseded bigint not null, retracted bigint not null, notes bigint not null,
    primary key (run, register, file, chunk));
create table ledger_code (
    run bigint not null, register text collate "C" not null, kind text not null, code text collate "C" not null,
    n bigint not null, primary key (run, register, kind, code));

create table feed (
    id bigint generated always as identity primary key, name text collate "C" not null unique, grant_digest text,
    cursor bigint not null default 0, seq bigint not null default 0, previous text,
    schema_version bigint not null default 0, fingerprint text, sweep_entity bigint, sweep_through bigint,
    part bigint not null default 0);
create table holding (
    feed bigint not null, entity bigint not null, version bigint not null, digest bytea not null,
    batch bigint not null, primary key (feed, entity));
create table batch (
    feed bigint not null, seq bigint not null, kind text not null, body bytea, manifest bytea not null,
    signature bytea not null, manifest_digest text not null, records bigint not null, sealed_at bigint not null,
    durable boolean not null default false, primary key (feed, seq));
create index batch_waiting on batch (feed, seq) where not durable;
create table feed_ledger (
    id bigint generated always as identity primary key, feed bigint not null, seq bigint, considered bigint not null,
    released bigint not null, unaffected bigint not null, withheld bigint not null, at bigint not null);

create table audit (
    id bigint generated always as identity primary key, at bigint not null, action text not null, detail text not null,
    previous text not null, digest text not null);
create table counter (name text primary key, next bigint not null);
insert into counter values ('claim', 1), ('entity', 1);

-- Whoever writes into a change log, this program or a person, takes its turn before a number is drawn and keeps it
-- until the commit: numbers are in commit order, and a reader that follows them can skip nothing.
create function one_writer() returns trigger language plpgsql as $$
begin
    perform pg_advisory_xact_lock(7411, tg_relid::integer);
    return null;
end $$;
