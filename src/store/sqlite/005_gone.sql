-- Source keys that a source said are gone, and since when: an older row that comes late does not bring them back.
create table gone (
    stream integer not null, key text not null, updated integer not null, primary key (stream, key)) without rowid;
