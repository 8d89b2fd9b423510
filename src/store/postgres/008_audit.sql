-- Signed words on how the audit log stood.
create table audit_checkpoint (through bigint primary key, body bytea not null, signature bytea not null);
-- Kept for twenty years (电子印章管理办法 §19): nothing here alters or deletes an entry.
create function audit_stays() returns trigger language plpgsql as $$
begin
    raise exception 'HL0822 the audit log is append-only';
end $$;
create trigger audit_unaltered before update or delete on audit for each row execute function audit_stays();
create trigger audit_untruncated before truncate on audit for each statement execute function audit_stays();
