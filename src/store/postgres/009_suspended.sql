-- A grant that one side has suspended: since when, and why.
alter table feed add column suspended bigint, add column suspended_why text;
