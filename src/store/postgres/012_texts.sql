-- Why a feed could not release when it last tried.
alter table feed add column refused text;
-- What was found in the free text that a feed released, by batch and field.
create table feed_found (
    feed bigint not null, seq bigint not null, field text not null, policy text not null, citizen_ids bigint not null,
    mobiles bigint not null, primary key (feed, seq, field));
-- Entries older than twenty years may go (电子印章管理办法 §19), no others.
create or replace function audit_stays() returns trigger language plpgsql as $$
begin
    if tg_op = 'DELETE' then
        if old.at < (extract(epoch from now() - interval '20 years') * 1000000)::bigint then
            return old;
        end if;
    end if;
    raise exception 'HL0822 the audit log is append-only';
end $$;
