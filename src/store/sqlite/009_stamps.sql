-- Time stamps (RFC 3161): a row for every batch that wants one, made with the batch; the token as it came.
create table stamp (
    feed integer not null, seq integer not null, since integer not null, token blob, at integer, authority text,
    recorded_at integer, handed_on integer not null default 0, primary key (feed, seq)) without rowid;
create index stamp_due on stamp (feed, seq) where handed_on = 0;
create index stamp_waiting on stamp (feed, since) where token is null;
