-- Time stamps (RFC 3161): a row for every batch that wants one, made with the batch; the token as it came.
create table stamp (
    feed bigint not null, seq bigint not null, since bigint not null, token bytea, at bigint, authority text,
    recorded_at bigint, handed_on boolean not null default false, primary key (feed, seq));
create index stamp_due on stamp (feed, seq) where not handed_on;
create index stamp_waiting on stamp (feed, since) where token is null;
