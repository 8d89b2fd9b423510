-- How far a run was behind its source when it began, where the source says so (变更订阅).
alter table run add column lag_bytes integer;
alter table run add column lag_seconds integer;
