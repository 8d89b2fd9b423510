-- Data keys, wrapped by the master key, and which fields are encrypted with them.
create table at_rest (name text primary key, note text not null) without rowid;
