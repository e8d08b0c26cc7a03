"""The known failures of RQ and of a service like this: each has its test here, or a reason why not.

The letters are those of RQ's failure modes as they were measured before this was built; the numbers
those of the fault matrix.
"""

import ast
import re
from functools import cache
from pathlib import Path

import pytest
from rq.timeouts import JobTimeoutException
from rq.worker import SimpleWorker

from models.core.database_errors import is_bad_row
from tests.faults.crash_points import POINTS
from tests.faults.injectors import BREAKAGES
from workers.processes.rq_worker import DrainWorker

FAULTS = "faults/test_faults.test_every_fault_costs_nothing"
DEATHS = "faults/test_crash_points.test_a_death_at_any_point_costs_nothing"
REASON = "no test: "

RQ: dict[str, str] = {
    # The process that runs the job killed; RQ's own worker is that process here.
    "a": f"{FAULTS}[rq worker killed]",
    # All of a dyno killed in mid-job.
    "b": f"{FAULTS}[dyno killed]",
    # Every worker killed: no job leaves an orphan, since none is forked.
    "b'": f"{FAULTS}[every rq worker killed]",
    # Killed between taking a job and preparing it.
    "c1": f"{DEATHS}[job taken]",
    "c2": f"{REASON}with two queues a job taken is lost for ever, so there is one",
    # Killed between preparing a job and its start.
    "c3": f"{DEATHS}[job prepared]",
    "c4": f"{REASON}as c2, there is one queue",
    # Random kills under load.
    "c5": "faults/test_soak.test_a_short_soak_loses_and_doubles_nothing",
    # An idle worker that hangs takes the next hint.
    "c6": "workers/linking/test_lease_fencing.test_workers_whose_hints_go_nowhere_sweep",
    "c7": f"{REASON}no scheduler is started; the dyno's own children die with it: test_dyno",
    # Redis restarted, with its jobs gone; while a worker is idle; before its job ends; at its end.
    "d": f"{FAULTS}[redis killed]",
    "d2": "workers/processes/test_supervisor.test_a_dyno_starts_and_links_with_redis_down_from_boot",
    "d3": f"{FAULTS}[redis killed]",
    "d4": f"{FAULTS}[redis away]",
    # Redis down or frozen at the enqueue.
    "e": "webhook/receiver/test_views.test_redis_away_delays_no_answer",
    "f": f"{FAULTS}[redis full]",
    "f'": f"{FAULTS}[redis evicting]",
    # SIGTERM to the parent, to all, and a job that would go on.
    "g1": "workers/processes/test_supervisor.test_a_stop_is_clean_and_well_inside_30_seconds",
    "g2": f"{FAULTS}[dyno told to stop]",
    "g3": "workers/linking/test_drain.test_a_stop_in_mid_drain_gives_back_what_is_not_done",
    # One job three times: drains may well run at once.
    "h": "workers/linking/test_drain.test_two_drains_at_once_link_each_bot_once",
    "h'": f"{REASON}no job is unique and none has a fixed id: test_jobs checks the fields of a wake-up",
    "i": f"{REASON}no RQ retry and no scheduler: due times are rows, test_sweep waits for them",
    "i'": f"{REASON}as i, there is no scheduler to be killed",
    'i"': f"{REASON}as i, there is no scheduler's lock",
    # A function that was renamed; another serializer; a corrupt hash field.
    "j": "workers/linking/test_lease_fencing.test_a_queue_full_of_another_releases_jobs_delays_nothing",
    "j'": "workers/queue/test_jobs.test_a_pickled_payload_is_refused",
    'j"': "workers/linking/test_lease_fencing.test_a_corrupt_job_costs_a_restart_and_no_link",
    # A job's time-out: not needed, not swallowed, and not waited for in C.
    "k": "workers/linking/test_drain.test_what_the_end_cuts_is_partial_and_due_at_once",
    "k'": "faults/test_fault_matrix.test_rqs_own_exceptions_are_no_rows_fault",
    'k"': f"{FAULTS}[postgres frozen]",
    # What JSON can say, and what an attacker in Redis can.
    "l": "workers/queue/test_jobs.test_what_lies_in_redis_names_no_code_and_tells_nothing",
    "m": "workers/queue/test_jobs.test_a_name_that_is_not_listed_is_not_run",
    "n": "workers/queue/test_jobs.test_what_lies_in_redis_names_no_code_and_tells_nothing",
}

MATRIX: dict[int, str] = {
    1: f"{FAULTS}[rq worker killed]",
    2: f"{FAULTS}[dyno killed]",
    3: f"{FAULTS}[rq worker killed]",
    4: f"{DEATHS}[job prepared]",
    5: f"{DEATHS}[drained, RQ not told]",
    6: f"{DEATHS}[between commit and answer]",
    7: f"{DEATHS}[before the commit]",
    8: f"{FAULTS}[web killed]",
    9: f"{FAULTS}[dyno told to stop]",
    10: "workers/processes/test_supervisor.test_a_stop_is_clean_and_well_inside_30_seconds",
    11: "workers/linking/test_lease_fencing.test_a_second_stop_is_still_an_orderly_one",
    12: "workers/linking/test_lease_fencing.test_a_worker_that_slept_past_its_lease_writes_nothing",
    13: "workers/linking/test_lease_fencing.test_workers_whose_hints_go_nowhere_sweep",
    14: f"{FAULTS}[redis killed]",
    15: f"{FAULTS}[redis flushed]",
    16: "workers/processes/test_supervisor.test_a_dyno_starts_and_links_with_redis_down_from_boot",
    17: f"{FAULTS}[redis frozen]",
    18: f"{FAULTS}[redis full]",
    19: f"{FAULTS}[redis evicting]",
    20: "workers/queue/test_jobs.test_a_redis_behind_a_self_signed_certificate_needs_the_setting",
    21: f"{FAULTS}[redis away]",
    22: f"{REASON}a fail-over that forgot writes is, to us, the restart of row 14",
    23: f"{FAULTS}[postgres away]",
    24: f"{FAULTS}[postgres crashed]",
    25: "webhook/receiver/test_storage.test_a_frozen_server_is_503_in_time",
    26: "webhook/receiver/test_storage.test_a_locked_table_is_503_in_time",
    27: f"{FAULTS}[postgres read only]",
    28: f"{FAULTS}[postgres out of connections]",
    29: "workers/linking/test_lease_fencing.test_a_full_disk_is_503_and_breaks_no_file",
    30: f"{FAULTS}[sqlite locked]",
    31: "workers/linking/test_drain.test_two_drains_at_once_link_each_bot_once",
    32: "workers/linking/test_lease_fencing.test_this_release_serves_on_the_next_ones_schema",
    33: "workers/linking/test_lease_fencing.test_a_queue_full_of_another_releases_jobs_delays_nothing",
    34: "workers/linking/test_lease_fencing.test_a_bot_that_kills_its_worker_is_given_up_and_stops_no_other",
    35: f"{FAULTS}[recall says 503]",
    36: "workers/linking/test_lease_fencing.test_a_recall_that_was_away_for_hours_is_caught_up_with",
    37: "workers/linking/test_linker.test_a_refused_token_is_renewed_once",
    38: "system/test_deploys.test_a_web_dyno_with_a_wrong_clock_refuses_and_loses_nothing",
    39: "system/test_deploys.test_workers_with_wrong_clocks_link_each_bot_once",
    40: "workers/linking/test_apply_deliveries.test_every_order_of_arrival_ends_the_same",
    41: "system/test_pipeline.test_a_secret_is_rotated_under_load_without_a_refusal",
    42: "workers/linking/test_drain.test_a_relink_fetches_everything_again",
    43: f"{FAULTS}[poller killed]",
    44: "webhook/serving/test_waitress_server.test_300_half_sent_bodies_delay_no_good_post",
}
LETTERS = (
    "a b b' c1 c2 c3 c4 c5 c6 c7 d d2 d3 d4 e f f' g1 g2 g3 h h' i i' i\" j j' j\" k k' k\" l m n"
)
TESTS = Path(__file__).parents[1]


@cache
def names_in(module: str) -> set[str]:
    """The names of a module's tests."""
    tree = ast.parse((TESTS / f"{module}.py").read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_every_row_is_there_once() -> None:
    """No number and no letter was left out."""
    assert list(MATRIX) == list(range(1, 45))
    assert list(RQ) == LETTERS.split()


@pytest.mark.parametrize("where", sorted({*RQ.values(), *MATRIX.values()}))
def test_every_row_has_its_test_or_a_reason(where: str) -> None:
    """The test is there, and so is the fault it is asked for by name."""
    if where.startswith(REASON):
        assert len(where) > len(REASON) + 20
        return
    found = re.fullmatch(r"([\w/]+)\.(\w+)(?:\[(.+)\])?", where)
    assert found, where
    module, test, case = found.groups()
    assert test in names_in(module), where
    assert case in {FAULTS: set(BREAKAGES), DEATHS: set(POINTS)}.get(
        where.partition("[")[0], {None}
    ), where


def test_rqs_own_exceptions_are_no_rows_fault() -> None:
    """A time-out that were taken for a bad row would be swallowed, and the job go on for ever."""
    assert not is_bad_row(JobTimeoutException("too long"))


def test_no_scheduler_runs_in_a_worker() -> None:
    """Retries and due times are rows; what RQ would schedule is not there to be lost."""
    assert issubclass(DrainWorker, SimpleWorker)
    source = (TESTS.parent / "workers" / "processes" / "rq_worker.py").read_text()
    assert "with_scheduler" not in source
