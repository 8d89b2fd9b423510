-- What the claims of a stream say, packed as they were committed (key digest, row digest, claim: 24 bytes each), and the claims
-- that were taken back: a file whose rows mostly stand is compared with this, and not with the claims themselves. A stream that
-- had claims before this was kept has nothing here until it was read once.
create table remembered (
    id integer primary key, stream integer not null, entries blob not null, gone blob);
create index remembered_by_stream on remembered (stream);
