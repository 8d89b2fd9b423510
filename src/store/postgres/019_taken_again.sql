-- A whole extract (全量) may come again with the content of an older one: a file is noted each time it is taken, with the run
-- that took it to its end.
alter table file drop constraint file_dataset_digest_key;
alter table file add column run bigint;
update file f set run = l.run from (select l.file, max(l.run) as run from ledger l join run r on r.id = l.run
    where r.kind = 'run' group by l.file) l where l.file = f.id;
create index file_content on file (dataset, digest);
create index file_run on file (run);
create index file_waits on file (dataset) where status in ('held', 'taking');
-- The content that was last taken under a name.
create table file_name (dataset text not null, name text not null, digest text not null, primary key (dataset, name));
insert into file_name select distinct on (dataset, name) dataset, name, digest from file where status = 'taken'
    order by dataset, name, id desc;
-- What was counted of a file, by whichever runs took it.
create index ledger_file on ledger (file);
