-- What subscribers answered, as they said it, and what of it does not fit what was sent.
create table receipt (
    feed text not null, seq integer not null, digest text not null, at integer not null, recorded_at integer not null,
    sender text, signer text, held integer, mismatch text, receipt blob not null, signature blob,
    primary key (feed, seq, digest)) without rowid;
