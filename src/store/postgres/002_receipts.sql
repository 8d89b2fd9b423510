-- What subscribers answered, as they said it, and what of it does not fit what was sent.
create table receipt (
    feed text collate "C" not null, seq bigint not null, digest text not null, at bigint not null,
    recorded_at bigint not null, sender text, signer text, held bigint, mismatch text, receipt bytea not null,
    signature bytea, primary key (feed, seq, digest));
