-- What subscribers held once and were told to give back: the version, the batch that brought it, the batch that withdrew it.
create table held_before (
    feed bigint not null, entity bigint not null, version bigint not null, batch bigint not null,
    withdrawn bigint not null, primary key (feed, entity));
create index held_before_entity on held_before (entity);
create index holding_entity on holding (entity);
-- Corrections and recalls: who must be reached, why, and the batch that went out for it.
create table chase (
    id bigint generated always as identity primary key, feed bigint not null, register text not null,
    entity bigint not null, kind text not null, why text not null, reference text not null, at bigint not null, seq bigint);
create index chase_waits on chase (feed) where seq is null;
create index chase_entity on chase (entity);
-- Records that must not go out again until they are corrected.
create table recalled (
    register text not null, entity bigint not null, why text not null, reference text not null, at bigint not null,
    primary key (register, entity));
