-- A grant that one side has suspended: since when, and why.
alter table feed add column suspended integer;
alter table feed add column suspended_why text;
