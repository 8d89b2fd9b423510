-- Source keys that a source said are gone, and since when: an older row that comes late does not bring them back.
create table gone (
    stream bigint not null, key text collate "C" not null, updated bigint not null, primary key (stream, key));
