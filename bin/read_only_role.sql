-- A role for people and tools that only ask: every view of this release, and no table.
-- As the database's owner:  psql "$DATABASE_URL" -v ON_ERROR_STOP=1 -f bin/read_only_role.sql
-- then give it a password:  \password recall_links_reader
-- It may be run again at any time, and is after a release that made a view.

-- One statement: psql would run on past an error, and half a role is none.
DO $$
DECLARE
    found regclass;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'recall_links_reader') THEN
        IF NOT (SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user) THEN
            RAISE EXCEPTION 'the role % may not make another: it needs CREATEROLE', current_user
                USING HINT = format('A superuser gives it: ALTER ROLE %I CREATEROLE', current_user);
        END IF;
        CREATE ROLE recall_links_reader LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT
            CONNECTION LIMIT 5;
    END IF;

-- A forgotten query must not hold back a migration, or the vacuum of a busy table.
ALTER ROLE recall_links_reader SET statement_timeout = '10s';
ALTER ROLE recall_links_reader SET idle_in_transaction_session_timeout = '30s';
-- A habit and no wall: whoever connects may turn it off. The missing rights below are the wall.
ALTER ROLE recall_links_reader SET default_transaction_read_only = on;

-- PostgreSQL before 15 lets everybody create tables here.
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
-- What was granted before goes first: the role has what stands here, and no more.
REVOKE ALL ON ALL TABLES IN SCHEMA public FROM recall_links_reader;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA public FROM recall_links_reader;
GRANT USAGE ON SCHEMA public TO recall_links_reader;
-- A view reads its tables with its owner's rights: bodies, headers and tokens are in none of them.
-- Ours are those with bot_links' owner; what an extension put here is not ours to show.
    FOR found IN
        SELECT view.oid FROM pg_class AS view JOIN pg_class AS ours USING (relnamespace, relowner)
        WHERE view.relkind = 'v' AND ours.oid = 'public.bot_links'::regclass AND NOT EXISTS (
            SELECT FROM pg_depend WHERE pg_depend.objid = view.oid AND deptype = 'e')
    LOOP
        EXECUTE format('GRANT SELECT ON %s TO recall_links_reader', found);
    END LOOP;
END $$;
