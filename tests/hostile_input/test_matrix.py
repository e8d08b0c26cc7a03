"""The bad-input matrix, row by row: which test holds each, or why none can.

The rows are those of the project's notes on reliability, 5.1 (the receiver, 1 to 60), 5.2 (Recall's
answers, 61 to 88) and 5.3 (who asks, 89 to 97). Where the design decides otherwise, it stands:
the identifier's letters, 413 for chunks, `malformed` for what the notes call dead.
"""

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
ROWS = range(1, 98)
WIRE = "hostile_input/test_wire"
ANSWERS = "hostile_input/test_answers"
OPS = "hostile_input/test_ops"
STRANGE = f"{ANSWERS}: each_strange_answer_ends_as_the_design_says"
HEADERS = f"{WIRE}: headers_that_prove_nothing_are_401"
LIMIT = f"{WIRE}: a_body_is_taken_to_its_limit_however_it_comes"
NO_EVENT = "webhook/receiver/test_events: a_body_that_is_no_event_is_malformed_and_says_why"
BAD_CODE = "webhook/receiver/test_events: a_code_that_is_none_is_malformed"
BAD_TIME = "webhook/receiver/test_events: a_time_that_is_none_is_malformed"
BAD_PARAMETER = "webhook/api/test_views: a_bad_parameter_is_400_and_named"

MATRIX: dict[int, tuple[str, ...]] = {
    1: (
        "webhook/receiver/test_views: a_verified_webhook_is_committed_and_answered_202",
        "webhook/receiver/test_signature: headers_of_two_families_are_never_mixed",
    ),
    2: ("webhook/receiver/test_views: rotation_leaves_no_gap",),
    3: ("webhook/receiver/test_views: what_is_not_proved_is_401_and_touches_no_database",),
    4: ("webhook/receiver/test_views: a_repeat_is_a_quiet_200_and_counts_a_copy",),
    5: (
        "webhook/receiver/test_views: a_repeat_is_a_quiet_200_and_counts_a_copy",
        "webhook/receiver/test_storage: a_copy_is_counted_and_compared",
    ),
    6: (
        "webhook/receiver/test_signature: headers_of_two_families_are_never_mixed",
        "webhook/receiver/test_views: what_is_not_proved_is_401_and_touches_no_database",
    ),
    7: ("webhook/receiver/test_signature: the_tolerance_is_the_same_both_ways",),
    8: ("webhook/receiver/test_signature: the_tolerance_is_the_same_both_ways",),
    9: ("webhook/receiver/test_signature: malformed_headers_are_refused_as_such", HEADERS),
    10: ("webhook/receiver/test_signature: signatures_that_are_none_are_refused", HEADERS),
    11: ("webhook/receiver/test_signature: signatures_that_are_none_are_refused",),
    12: ("webhook/receiver/test_signature: any_of_several_signatures_proves_a_request",),
    # Sixteen of them by our design, and not ten.
    13: ("webhook/receiver/test_signature: the_work_a_stranger_can_cause_is_bounded",),
    14: ("webhook/receiver/test_signature: a_signature_with_garbage_inside_is_refused",),
    15: ("webhook/receiver/test_signature: a_changed_body_id_or_time_is_refused",),
    16: ("webhook/receiver/test_signature: malformed_headers_are_refused_as_such", HEADERS),
    17: (f"{WIRE}: a_header_given_twice_is_refused",),
    18: (f"{WIRE}: a_header_with_underscores_is_no_header_of_ours",),
    19: (NO_EVENT, "webhook/receiver/test_views: what_we_cannot_use_is_kept_and_answered_200"),
    20: (NO_EVENT,),
    21: (NO_EVENT, "webhook/receiver/test_views: what_we_cannot_use_is_kept_and_answered_200"),
    22: (NO_EVENT,),
    23: ("webhook/receiver/test_events: numbers_beyond_measure_do_no_harm",),
    24: (NO_EVENT, "hostile_input/test_posts: the_web_process_stays_as_large_as_it_was"),
    25: (NO_EVENT, "hostile_input/test_posts: the_web_process_stays_as_large_as_it_was"),
    26: ("webhook/receiver/test_events: nesting_in_a_field_that_is_not_read_does_no_harm",),
    27: (NO_EVENT,),
    28: (f"{WIRE}: the_signature_decides_and_no_other_header",),
    29: (BAD_CODE,),
    30: (
        "webhook/receiver/test_events: text_that_postgresql_refuses_is_replaced",
        "webhook/receiver/test_views: hostile_text_is_stored_on_both_databases",
        "hostile_input/test_posts: nul_and_lone_surrogates_survive_the_database",
    ),
    31: (BAD_CODE,),
    32: (
        "webhook/receiver/test_events: an_unknown_code_is_accepted_as_text",
        "workers/linking/test_apply_deliveries: the_later_of_two_statuses",
    ),
    33: (
        "webhook/receiver/test_events: an_unknown_code_is_accepted_as_text",
        f"{OPS}: a_code_that_is_markup_is_text_in_every_answer",
    ),
    34: ("webhook/receiver/test_events: what_is_of_no_bot_status_is_ignored",),
    35: ("webhook/receiver/test_events: both_generations_say_the_same",),
    36: (NO_EVENT,),
    37: (NO_EVENT,),
    38: ("webhook/receiver/test_events: a_bot_id_that_is_no_plain_uuid_is_malformed",),
    39: ("webhook/receiver/test_events: a_bot_id_that_is_no_plain_uuid_is_malformed",),
    40: ("webhook/receiver/test_events: a_bot_id_is_kept_in_lower_case",),
    41: (BAD_TIME,),
    42: ("webhook/receiver/test_events: a_time_without_a_zone_is_utc",),
    43: ("webhook/receiver/test_events: a_time_more_than_a_day_ahead_is_malformed",),
    44: ("webhook/receiver/test_events: the_year_one_only_orders",),
    45: ("webhook/receiver/test_events: a_status_that_is_no_object_is_malformed",),
    46: (
        "webhook/receiver/test_views: another_method_is_405",
        f"{WIRE}: another_method_on_the_wire_is_405",
    ),
    47: (
        "webhook/receiver/test_views: another_method_is_405",
        f"{WIRE}: another_method_on_the_wire_is_405",
    ),
    48: (
        "webhook/receiver/test_views: a_trailing_slash_is_the_same_address",
        f"{WIRE}: a_slash_or_a_query_is_the_same_address",
    ),
    49: (f"{WIRE}: a_wrong_path_is_404_in_json_and_no_redirect",),
    50: ("webhook/receiver/test_views: a_body_is_taken_to_its_limit_and_no_further", LIMIT),
    51: (LIMIT,),
    52: (LIMIT, "webhook/receiver/test_views: a_body_without_a_length_is_measured_as_it_is_read"),
    53: (f"{WIRE}: a_body_without_any_length_is_an_empty_one",),
    # waitress takes the chunks for the body, as RFC 9112 allows, and refuses the other two.
    54: (
        f"{WIRE}: a_length_beside_chunks_counts_for_nothing",
        f"{WIRE}: broken_framing_is_the_servers_to_refuse",
        f"{WIRE}: what_is_no_http_is_refused",
    ),
    # The limit of ours is 32 KiB for all headers together.
    55: (f"{WIRE}: a_header_is_read_to_32_kib",),
    56: (f"{WIRE}: a_body_that_never_comes_delays_nobody",),
    57: ("webhook/serving/test_waitress_server: 300_half_sent_bodies_delay_no_good_post",),
    58: (
        "webhook/receiver/test_views: a_database_that_fails_is_503_with_retry_after",
        "webhook/receiver/test_views: what_is_not_proved_is_401_and_touches_no_database",
    ),
    59: (f"{WIRE}: what_was_stored_stays_when_the_sender_is_gone",),
    60: (
        "webhook/receiver/test_signature: a_secret_that_is_none_is_refused_at_boot",
        "webhook/serving/test_waitress_server: a_malformed_setting_stops_the_boot_and_is_named",
        "webhook/receiver/test_views: without_a_secret_everything_is_503",
    ),
    61: (STRANGE, "workers/recall_api/test_schemas: what_is_no_json_object_is_unreadable"),
    62: (
        STRANGE,
        "workers/linking/test_drain: a_refused_key_opens_the_circuit_and_one_bot_tries_it_later",
    ),
    63: (STRANGE, f"{ANSWERS}: a_refused_redirect_tells_nobody_anything"),
    64: (STRANGE, "workers/recall_api/test_client: a_recall_that_is_away_is_a_network_failure"),
    65: (
        "workers/recall_api/test_client: a_call_that_takes_its_whole_time_is_a_timeout",
        "workers/recall_api/test_client: no_call_outlives_the_drains_end",
        f"{ANSWERS}: a_call_takes_15_seconds_in_all_and_an_answer_2_mib",
    ),
    66: (STRANGE, f"{ANSWERS}: an_answer_is_read_to_2_mib_in_as_much_memory"),
    67: (
        STRANGE,
        f"{ANSWERS}: an_answer_is_read_to_2_mib_in_as_much_memory",
        "hostile_input/test_worker: a_worker_stays_as_large_as_it_was",
    ),
    68: ("workers/linking/test_drain: a_refused_key_opens_the_circuit_and_one_bot_tries_it_later",),
    69: (
        "workers/linking/test_linker: a_refused_token_is_renewed_once",
        "workers/linking/test_linker: a_token_refused_twice_makes_the_meeting_forbidden",
    ),
    70: (
        "workers/recall_api/test_client: every_failure_has_its_fault",
        "workers/linking/test_linker: a_refused_workspace_is_not_asked_once_per_meeting",
    ),
    71: (
        STRANGE,
        "workers/linking/test_drain: a_bot_unknown_at_recall_is_given_up_after_ten_minutes",
    ),
    72: (STRANGE, "workers/recall_api/test_retry_policy: what_may_heal_backs_off_for_three_days"),
    73: (
        "workers/recall_api/test_client: retry_after_is_read_or_passed_over",
        "workers/recall_api/test_retry_policy: the_first_failure_is_followed_by",
    ),
    74: (STRANGE,),
    75: (STRANGE, "workers/recall_api/test_schemas: another_bots_body_is_refused"),
    76: (
        STRANGE,
        "workers/recall_api/test_schemas: no_calendar_meetings_is_a_bot_without_meetings",
    ),
    77: (STRANGE, "workers/recall_api/test_schemas: meetings_of_another_shape_are_unreadable"),
    78: (f"{ANSWERS}: a_thousand_meetings_of_one_bot_are_linked",),
    79: (STRANGE, "workers/recall_api/test_schemas: equal_meeting_ids_are_one_and_the_last_stands"),
    80: (
        STRANGE,
        "workers/linking/test_linker: a_meeting_without_an_external_id_is_linked_without_details",
    ),
    81: (STRANGE, "workers/recall_api/test_schemas: a_number_is_not_coerced_into_an_external_id"),
    82: (
        STRANGE,
        "workers/linking/test_linker: no_token_is_requested_for_an_id_we_would_alter",
        "workers/linking/test_save_bots: an_external_id_is_shown_as_it_can_be_stored",
    ),
    83: (STRANGE, f"{ANSWERS}: an_id_from_outside_is_one_folder_of_the_path"),
    84: (STRANGE, "workers/recall_api/test_schemas: a_token_that_cannot_be_a_header_is_refused"),
    85: (STRANGE, "workers/recall_api/test_client: a_token_that_is_none_is_never_sent"),
    86: (STRANGE, "workers/recall_api/test_client: a_token_that_is_none_is_never_sent"),
    87: (STRANGE,),
    88: (
        "workers/reconcile/test_reconcile: a_next_page_elsewhere_gets_no_key",
        "workers/reconcile/test_reconcile: only_our_own_list_is_a_next_page",
    ),
    89: (BAD_PARAMETER,),
    90: (BAD_PARAMETER, "webhook/api/test_views: words_are_words_whatever_they_look_like"),
    91: (BAD_PARAMETER, "webhook/api/test_views: a_cursor_of_another_list_or_key_is_refused"),
    92: (BAD_PARAMETER,),
    93: ("webhook/api/test_views: every_ops_route_asks_for_a_token",),
    94: (f"{OPS}: a_list_cannot_be_posted_to",),
    95: (
        f"{OPS}: a_wrong_id_or_option_is_wrong_usage",
        f"{OPS}: what_is_on_file_nowhere_is_nothing_found",
        f"{OPS}: a_database_that_is_away_is_one_line",
    ),
    96: ("webhook/api/test_views: a_title_that_is_a_formula_is_text_in_csv",),
    97: (f"{OPS}: a_title_in_a_table_moves_no_cursor",),
}
NO_TEST: dict[int, str] = {}


def names_in(name: str) -> set[str]:
    """The tests of a file, without the words that each begins with."""
    tree = ast.parse((TESTS / f"{name}.py").read_text())
    found = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    return {each.removeprefix("test_") for each in found if each.startswith("test_")}


def test_every_row_of_the_matrix_has_a_test_or_a_reason() -> None:
    """None is forgotten, and none is told both."""
    assert sorted([*MATRIX, *NO_TEST]) == list(ROWS)
    assert all(len(reason) > 20 for reason in NO_TEST.values())


@pytest.mark.parametrize("row", MATRIX)
def test_the_tests_that_a_row_names_are_there(row: int) -> None:
    """A test that was renamed or taken away leaves its row without one."""
    for each in MATRIX[row]:
        name, _, test = each.partition(": ")
        assert test in names_in(name), f"row {row}: {each}"


def test_the_strange_answers_are_of_the_rows_that_name_them() -> None:
    """The one test that holds many rows is told which: its table and this one agree."""
    tree = ast.parse((TESTS / f"{ANSWERS}.py").read_text())
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    told = {
        call.args[0].value
        for call in calls
        if isinstance(call.func, ast.Name)
        and call.func.id in ("on_bot", "on_meeting", "on_token")
        and isinstance(call.args[0], ast.Constant)
    }
    assert told == {row for row, tests in MATRIX.items() if STRANGE in tests}
