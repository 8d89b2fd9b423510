-- 角色 Who may come to the register database. Run by its owner or a superuser, as often as you like:
--
--   psql -d huiliu -f deploy/postgres/roles.sql
--   psql -d huiliu -v writer=city_writer -v reader=city_reader -f deploy/postgres/roles.sql      other names
--
-- Then give each a password with \password NAME (this file never sees one), and huiliu_writer's to the daemon.
--
-- Here: roles, who may connect, and limits. Schemas (huiliu: the program's own; registers: what people query), tables and
-- what each role may do with them come from the store's own migrations, when the daemon first comes as the writer. Never let
-- it come as a superuser or as the database's owner.
\set ON_ERROR_STOP on
\if :{?writer}
\else
    \set writer huiliu_writer
\endif
\if :{?reader}
\else
    \set reader huiliu_reader
\endif

select distinct format('create role %I', name) from unnest(array[:'writer', :'reader', 'huiliu_reader']) as name
where not exists (select from pg_roles where rolname = name) \gexec

-- The migrations let huiliu_reader read. A reader of another name does so as its member.
select format('grant huiliu_reader to %I', :'reader') where :'reader' <> 'huiliu_reader' \gexec

-- 写入 The daemon: its schema, and nothing beyond this database.
alter role :"writer" login nosuperuser nocreatedb nocreaterole noreplication nobypassrls inherit connection limit 100;
-- A connection that died with its machine must not hold locks until TCP notices.
alter role :"writer" set idle_in_transaction_session_timeout = '5min';
alter role :"writer" set lock_timeout = '1min';
alter role :"writer" set tcp_keepalives_idle = '30s';
alter role :"writer" set tcp_user_timeout = '60s';
alter role :"writer" set client_min_messages = 'warning';

-- 只读 Reports and dashboards: reads what the migrations let it, and may not hold anybody up.
alter role :"reader" login nosuperuser nocreatedb nocreaterole noreplication nobypassrls inherit connection limit 20;
alter role :"reader" set default_transaction_read_only = on;
alter role :"reader" set statement_timeout = '5min';
alter role :"reader" set idle_in_transaction_session_timeout = '1min';

-- Nobody else comes in, and nobody but the writer makes anything: its schemas.
revoke all on database :"DBNAME" from public;
revoke all on schema public from public;
grant connect, create, temporary on database :"DBNAME" to :"writer";
grant connect on database :"DBNAME" to :"reader";
