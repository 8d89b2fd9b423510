-- Signed words on how the audit log stood.
create table audit_checkpoint (through integer primary key, body blob not null, signature blob not null);
-- Kept for twenty years (电子印章管理办法 §19): nothing here alters or deletes an entry.
create trigger audit_unaltered before update on audit begin
    select raise(abort, 'HL0822 the audit log is append-only'); end;
create trigger audit_undeleted before delete on audit begin
    select raise(abort, 'HL0822 the audit log is append-only'); end;
