-- What subscribers held once and were told to give back: the version, the batch that brought it, the batch that withdrew it.
create table held_before (
    feed integer not null, entity integer not null, version integer not null, batch integer not null,
    withdrawn integer not null, primary key (feed, entity)) without rowid;
create index held_before_entity on held_before (entity);
create index holding_entity on holding (entity);
-- Corrections and recalls: who must be reached, why, and the batch that went out for it.
create table chase (
    id integer primary key, feed integer not null, register text not null, entity integer not null, kind text not null,
    why text not null, reference text not null, at integer not null, seq integer);
create index chase_waits on chase (feed) where seq is null;
create index chase_entity on chase (entity);
-- Records that must not go out again until they are corrected.
create table recalled (
    register text not null, entity integer not null, why text not null, reference text not null, at integer not null,
    primary key (register, entity)) without rowid;
