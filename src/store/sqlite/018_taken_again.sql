-- A whole extract (全量) may come again with the content of an older one: a file is noted each time it is taken, with the run
-- that took it to its end.
create table file_again (
    id integer primary key, dataset text not null, name text not null, digest text not null, bytes integer not null,
    status text not null, why text, at integer not null, resume text, chunks integer not null default 0, run integer);
insert into file_again select f.id, f.dataset, f.name, f.digest, f.bytes, f.status, f.why, f.at, f.resume, f.chunks, l.run
    from file f left join (select l.file, max(l.run) as run from ledger l join run r on r.id = l.run where r.kind = 'run'
    group by l.file) l on l.file = f.id;
drop table file;
alter table file_again rename to file;
create index file_content on file (dataset, digest);
create index file_run on file (run);
create index file_waits on file (dataset) where status in ('held', 'taking');
-- The content that was last taken under a name.
create table file_name (
    dataset text not null, name text not null, digest text not null, primary key (dataset, name)) without rowid;
insert or replace into file_name select dataset, name, digest from file where status = 'taken' order by id;
-- What was counted of a file, by whichever runs took it.
create index ledger_file on ledger (file);
