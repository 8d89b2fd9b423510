#!/bin/bash
# Run once by the PostgreSQL image when the database is new: roles, and the writer's password, which psql reads itself so
# that no process list shows it.
set -euo pipefail
psql -v ON_ERROR_STOP=1 --no-psqlrc -U "$POSTGRES_USER" -d "$POSTGRES_DB" -f /etc/postgresql/roles.sql
psql -v ON_ERROR_STOP=1 --no-psqlrc -U "$POSTGRES_USER" -d "$POSTGRES_DB" <<'SQL'
\set password `cat /run/secrets/writer-password`
set log_statement = 'none';
alter role huiliu_writer password :'password';
SQL
