"""A database as years of work leave it, written by the server itself, a set at a time.

Bots are numbered; each serves one meeting. A person has 250 meetings, one a day, however many
people there are: a question about one person has an answer of the same size in every decade.
"""

from typing import Any

import psycopg

from tests.bench.plan import Plan

MEETINGS_A_PERSON = 250
CHUNK = 500_000
LAST_DAY = "timestamptz '2026-11-24 15:00+00'"
# The questions of docs/sql.md name these two.
PERSON, PERSON_NUMBER, EMAIL = "user-17", 17, "ada@example.com"
PARTIAL_BOT = 32

_NUMBERED = """
WITH numbered AS (
  SELECT n, {first} / 250 + n % greatest(1, {size} / 250) AS person,
         (n - {first}) / greatest(1, {size} / 250) AS day
  FROM generate_series({start}, {stop} - 1) AS n),
named AS (
  SELECT n, person, {last_day} - day * interval '1 day' - (n % 300) * interval '1 minute' AS at,
         'a0700000-0000-4000-8000-' || lpad(to_hex(n), 12, '0') AS bot,
         'a1700000-0000-4000-8000-' || lpad(to_hex(n), 12, '0') AS meeting,
         'a2700000-0000-4000-8000-' || lpad(to_hex(person), 12, '0') AS calendar_user,
         'user-' || person AS external_id,
         CASE WHEN person = 17 THEN 'ada@example.com'
              ELSE 'user-' || person || '@north.example' END AS email,
         (array['Roadmap','Pricing','Hiring','Onboarding','Renewal','Incident','Budget'])[1 + n % 7]
           || CASE WHEN n % 2 = 0 THEN '' ELSE n % 191 || '' END || ' '
           || (array['sync','review','weekly','workshop','kickoff','retro'])[1 + n % 6] || ' ' || n
           AS title
  FROM numbered)
"""
_BOTS = """INSERT INTO bots (id, status, status_at, first_seen_at, link_state, due_seq, due_at,
    attempts, last_error, bot_name, meeting_platform, settled_at, fetched_at, sealed_at) """
_TABLES = (
    """INSERT INTO calendar_users (id, external_id)
       SELECT DISTINCT calendar_user, external_id FROM named ON CONFLICT DO NOTHING""",
    f"""{_BOTS}
       SELECT bot, 'done', at, at, CASE WHEN n % 30 = 2 THEN 'partial' ELSE 'linked' END, 2,
         CASE WHEN n % 30 = 2 THEN now() + interval '1 year' END, 0, NULL, 'Scribe', 'zoom',
         at, at, at FROM named""",
    f"""{_BOTS} SELECT 'a3' || substr(bot, 3), 'fatal', at, at, 'failed', 2, NULL, 9,
       CASE WHEN n % 100 = 0 THEN 'bot_not_found: bot/{{id}}' ELSE 'http_400: bot/{{id}}' END,
       'Scribe', NULL, at, NULL, at FROM named WHERE n % 50 = 0""",
    f"""{_BOTS} SELECT 'a4' || substr(bot, 3), 'done', at, at, 'no_meetings', 2, NULL, 0, NULL,
       'Scribe', 'zoom', at, at, at FROM named WHERE n % 20 = 0""",
    """INSERT INTO bot_statuses (bot_id, code, occurred_at) SELECT bot, 'done', at FROM named""",
    """INSERT INTO calendar_meetings (id, calendar_user_id, start_time, end_time, state, title,
         title_words, indexed_title, ical_uid, organizer_email, calendar_platform, meeting_platform,
         fetched_at)
       SELECT meeting, calendar_user, at, at + interval '30 minutes',
         CASE WHEN n % 30 = 2 THEN 'owed' ELSE 'found' END, title,
         CAST(lower(title) AS tsvector), title, meeting || '@calendar.example',
         email, 'google', (array['zoom','google_meet','microsoft_teams'])[1 + n % 3], at
       FROM named""",
    """INSERT INTO meeting_people (meeting_id, email) SELECT meeting, email FROM named""",
    """INSERT INTO links (bot_id, meeting_id, calendar_user_id, external_id, seen_start, seen_end,
         linked_at, last_seen_at, updated_at)
       SELECT bot, meeting, calendar_user, external_id, at, at, at, at, at FROM named""",
    """INSERT INTO link_attempts (bot_id, started_at, finished_at, outcome, calls)
       SELECT bot, at, at, 'linked', '[{"method": "GET", "path": "bot/{id}", "about": null,
         "status": 200, "ms": 31, "error": null}]' FROM named""",
    """INSERT INTO deliveries (id, event, outcome, bot_id, code, occurred_at, body, received_at,
         last_received_at, applied_at, scheme, secret_fingerprint)
       SELECT 'msg_' || n, 'bot.done', 'accepted', bot, 'done', at, '{}', at, at, at,
         'svix', 'bench' FROM named""",
)


def grow(
    connection: "psycopg.Connection[tuple[Any, ...]]", first: int, last: int, plan: Plan
) -> None:
    """Add the bots from `first` up to `last`, then have the planner look."""
    for start in range(first, last, CHUNK):
        stop = min(start + CHUNK, last)
        numbered = (
            _NUMBERED.replace("{first}", str(first))
            .replace("{size}", str(last - first))
            .replace("{start}", str(start))
            .replace("{stop}", str(stop))
            .replace("{last_day}", LAST_DAY)
        )
        for statement in _TABLES:
            # A common table expression stands before the INSERT that reads it.
            connection.execute(f"{numbered} {statement}")
        plan.say(f"growth: {stop:,} links")
    connection.execute("VACUUM ANALYZE")


def generated_bot(number: int) -> str:
    """The number-th generated bot's id."""
    return f"a0700000-0000-4000-8000-{number:012x}"
