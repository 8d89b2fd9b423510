-- What is noted of the store as a whole, by name.
create table meta (name text primary key, value text not null) without rowid;
