-- Why a feed could not release when it last tried.
alter table feed add column refused text;
-- What was found in the free text that a feed released, by batch and field.
create table feed_found (
    feed integer not null, seq integer not null, field text not null, policy text not null, citizen_ids integer not null,
    mobiles integer not null, primary key (feed, seq, field)) without rowid;
-- Entries older than twenty years may go (电子印章管理办法 §19), no others.
drop trigger audit_undeleted;
create trigger audit_undeleted before delete on audit when old.at >= unixepoch('now', '-20 years') * 1000000 begin
    select raise(abort, 'HL0822 the audit log is append-only'); end;
