create table register (id integer primary key, name text not null unique);
create table register_field (
    id integer primary key, register integer not null references register, name text not null, kind text not null,
    unique (register, name));
create table stream (
    id integer primary key, system text not null, dataset text not null, register text not null,
    unique (system, dataset, register));
create table layout (id integer primary key, register text not null, fields text not null, unique (register, fields));

create table run (
    id integer primary key, pipeline text not null, kind text not null, status text not null, why text,
    started integer not null, ended integer, definitions text not null);
create table file (
    id integer primary key, dataset text not null, name text not null, digest text not null, bytes integer not null,
    status text not null, why text, at integer not null, resume text, chunks integer not null default 0,
    unique (dataset, digest));

-- What one source row says about one entity.
create table claim (
    id integer primary key, stream integer not null, key text not null, occurrence integer not null,
    entity integer not null, digest integer not null, updated integer not null, file integer not null,
    row integer not null, run integer not null, layout integer not null, vals blob not null);
create unique index claim_key on claim (stream, key, occurrence);
create index claim_entity on claim (entity);
-- Earlier states of claims: what was said, until which run.
create table claim_past (
    id integer not null, until_run integer not null, stream integer not null, key text not null,
    occurrence integer not null, entity integer not null, digest integer not null, updated integer not null,
    file integer not null, row integer not null, run integer not null, layout integer not null, vals blob not null,
    primary key (id, until_run, run, row)) without rowid;
-- Which claims a full extract has shown so far.
create table seen (
    file integer not null, stream integer not null, chunk integer not null, ids blob not null,
    primary key (file, stream, chunk)) without rowid;

create table identity (
    field integer not null, value text not null, entity integer not null,
    primary key (field, value)) without rowid;
create index identity_entity on identity (entity);
create table merged (
    entity integer primary key, register text not null, into_entity integer not null, run integer not null,
    at integer not null);

create table quarantine (
    id integer primary key, dataset text not null, register text not null, key text, digest integer not null,
    status text not null, why text, file integer not null, row integer not null, line integer not null,
    byte integer not null, mapping text not null, reasons text not null, raw blob not null, cells text,
    first_run integer not null, last_run integer not null,
    unique (dataset, register, digest));
create index quarantine_open on quarantine (dataset, register, key) where status = 'open';

create table ledger (
    run integer not null, register text not null, file integer not null, chunk integer not null,
    read integer not null, undecodable integer not null, filtered integer not null, quarantined integer not null,
    mapped integer not null, new integer not null, changed integer not null, unchanged integer not null,
    superseded integer not null, retracted integer not null, notes integer not null,
    primary key (run, register, file, chunk)) without rowid;
create table ledger_code (
    run integer not null, register text not null, kind text not null, code text not null, n integer not null,
    primary key (run, register, kind, code)) without rowid;

create table feed (
    id integer primary key, name text not null unique, grant_digest text, cursor integer not null default 0,
    seq integer not null default 0, previous text, schema_version integer not null default 0, fingerprint text,
    sweep_entity integer, sweep_through integer, part integer not null default 0);
create table holding (
    feed integer not null, entity integer not null, version integer not null, digest blob not null,
    batch integer not null, primary key (feed, entity)) without rowid;
create table batch (
    feed integer not null, seq integer not null, kind text not null, body blob, manifest blob not null,
    signature blob not null, manifest_digest text not null, records integer not null, sealed_at integer not null,
    durable integer not null default 0, primary key (feed, seq));
create table feed_ledger (
    id integer primary key, feed integer not null, seq integer, considered integer not null, released integer not null,
    unaffected integer not null, withheld integer not null, at integer not null);

create table audit (
    id integer primary key, at integer not null, action text not null, detail text not null, previous text not null,
    digest text not null);
create table counter (name text primary key, next integer not null) without rowid;
insert into counter values ('claim', 1), ('entity', 1);
