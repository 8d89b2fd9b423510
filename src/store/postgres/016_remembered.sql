-- What the claims of a stream say, packed as they were committed (key digest, row digest, claim: 24 bytes each), and the claims
-- that were taken back: a file whose rows mostly stand is compared with this, and not with the claims themselves. A stream that
-- had claims before this was kept has nothing here until it was read once.
create table remembered (
    id bigint generated always as identity primary key, stream bigint not null, entries bytea not null, gone bytea);
alter table remembered alter column entries set storage external; -- digests do not compress
create index remembered_by_stream on remembered (stream, id);
-- A row set aside is found by its digest; the first columns of this index are not those of quarantine_open, so that a planner that
-- knows nothing of the table yet does not walk through all of a dataset's rows for a few keys.
alter table quarantine drop constraint quarantine_dataset_register_digest_key;
alter table quarantine add unique (digest, dataset, register);
-- Feeds are few: who holds an entity is asked feed by feed, and each record sent writes one index entry less.
drop index holding_entity;
-- Room for what a holding changes to, on its own page: then its index need not learn of it.
alter table holding set (fillfactor = 80);
