"""Plain words for Recall's sub codes: why a bot left, or never got in.

The set is open (https://docs.recall.ai/docs/sub-codes): an unknown one is shown as it came. Each
entry goes on where "the bot" begins.
"""

from models.core.bot_outcome import end_kind

_LEFT = {
    "call_ended_by_host": "left when the host ended the meeting",
    "call_ended_by_platform_idle": "left when the platform closed the idle meeting",
    "call_ended_by_platform_max_length": "left when the platform's time limit was reached",
    "call_ended_by_platform_waiting_room_timeout": (
        "waited in the lobby until the platform's limit and was not let in"
    ),
    "timeout_exceeded_waiting_room": "waited in the lobby and was not let in",
    "timeout_exceeded_noone_joined": "left because nobody joined",
    "timeout_exceeded_everyone_left": "left after everybody else had left",
    "timeout_exceeded_silence_detected": "left after a long silence",
    "timeout_exceeded_only_bots_detected_using_participant_names": (
        "left because only bots remained, by their names"
    ),
    "timeout_exceeded_only_bots_detected_using_participant_events": (
        "left because only bots remained, by their behavior"
    ),
    "timeout_exceeded_only_bots_in_call": "left because only bots remained",
    "timeout_exceeded_in_call_not_recording": (
        "left after it had been in the call too long without recording"
    ),
    "timeout_exceeded_in_call_recording": "left when its limit for recording was reached",
    "timeout_exceeded_recording_permission_denied": "left because recording was not allowed",
    "timeout_exceeded_max_duration": "left when the account's longest duration was reached",
    "bot_kicked_from_call": "was removed from the call",
    "bot_kicked_from_waiting_room": "was turned away from the lobby",
    "bot_received_leave_call": "left because it was told to",
}
_DENIED = {
    "zoom_local_recording_disabled": (
        "could not record because local recording is off in the host's account"
    ),
    "zoom_local_recording_request_disabled": (
        "could not record because the host's account allows no requests to record"
    ),
    "zoom_local_recording_request_disabled_by_host": (
        "could not record because the host turned requests to record off"
    ),
    "zoom_local_recording_request_denied_by_host": "could not record because the host said no",
    "zoom_local_recording_denied": (
        "could not record because the request was denied or not answered"
    ),
    "zoom_local_recording_grant_not_supported": (
        "could not record because the host's client cannot give permission"
    ),
    "zoom_bot_in_waiting_room": "could not record because it was still in the lobby",
    "zoom_host_not_present": "could not record because the host was not there to allow it",
    "zoom_sdk_key_blocked_by_host_admin": (
        "could not record because the host's administrator blocks the Zoom app"
    ),
}
_FATAL = {
    "bot_errored": "failed with an unexpected error at Recall",
    "failed_to_launch_in_time": "did not start in time",
    "meeting_not_found": "could not join because there is no meeting at its link",
    "meeting_not_started": "could not join because the meeting had not started",
    "meeting_requires_registration": "could not join because participants have to register",
    "meeting_requires_sign_in": "could not join because participants have to sign in",
    "meeting_link_expired": "could not join because the link has expired",
    "meeting_link_invalid": "could not join because the link is not valid",
    "meeting_password_incorrect": "could not join because the password in the link is wrong",
    "meeting_locked": "could not join because the meeting was locked",
    "meeting_full": "could not join because the meeting was full",
    "meeting_ended": "could not join because the meeting was already over",
}
_GOOGLE_MEET = {
    "google_meet_internal_error": "failed with an error at Google Meet",
    "google_meet_sign_in_failed": "could not sign in to Google",
    "google_meet_sign_in_captcha_failed": (
        "could not sign in to Google because a captcha was in the way"
    ),
    "google_meet_sso_sign_in_failed": "could not sign in to Google by single sign-on",
    "google_meet_bot_blocked": "could not join because Google Meet blocked it",
    "google_meet_sign_in_missing_login_credentials": (
        "could not sign in to Google because its login is not configured"
    ),
    "google_meet_sign_in_missing_recovery_credentials": (
        "could not sign in to Google because its recovery login is not configured"
    ),
    "google_meet_sso_sign_in_missing_login_credentials": (
        "could not sign in to Google because its single sign-on is not configured"
    ),
    "google_meet_sso_sign_in_missing_totp_secret": (
        "could not sign in to Google because its one-time codes are not configured"
    ),
    "google_meet_video_error": "failed with a video error at Google Meet",
    "google_meet_meeting_room_not_ready": "could not join because the meeting room was not ready",
    "google_meet_login_not_available": "could not join because every Google login was in use",
    "google_meet_permission_denied_breakout": "was refused at a breakout room",
    "google_meet_knocking_disabled": "could not join because outsiders may not ask to join",
    "google_meet_organisation_restricted": "could not join because only the organization may do so",
}
_ZOOM = {
    "zoom_sdk_credentials_missing": "could not join because Recall has no Zoom credentials",
    "zoom_sdk_update_required": "could not join because Zoom requires a newer SDK",
    "zoom_sdk_app_not_published": "could not join because the Zoom app is not approved",
    "zoom_email_blocked_by_admin": "could not join because an administrator blocks its address",
    "zoom_registration_required": "could not join because participants have to register",
    "zoom_captcha_required": "could not join because participants have to solve a captcha",
    "zoom_account_blocked": "could not join because Zoom blocks its account",
    "zoom_invalid_join_token": "could not join because Zoom rejected its join token",
    "zoom_invalid_signature": "could not join because Zoom rejected its credentials or the link",
    "zoom_internal_error": "failed with an error at Zoom",
    "zoom_join_timeout": "could not join because Zoom did not answer in time",
    "zoom_email_required": "could not join because participants have to give an address",
    "zoom_web_disallowed": "could not join because the host forbids joining from the web",
    "zoom_connection_failed": "could not join because the connection to Zoom failed",
    "zoom_error_multiple_device_join": (
        "could not join because its account was already in the meeting"
    ),
    "zoom_meeting_not_accessible": "could not join because the meeting cannot be reached",
    "zoom_meeting_host_inactive": "could not join because the host's account is disabled",
    "zoom_invalid_webinar_invite": "could not join because the webinar's invitation is not valid",
}
_TEAMS_AND_WEBEX = {
    "microsoft_teams_call_dropped": "was dropped from the call by Teams",
    "microsoft_teams_sign_in_credentials_missing": (
        "could not join because its login is not configured"
    ),
    "microsoft_teams_sign_in_failed": "could not sign in to Teams",
    "microsoft_teams_internal_error": "failed with an error at Teams",
    "microsoft_teams_captcha_detected": (
        "could not join because participants have to solve a captcha"
    ),
    "microsoft_teams_bot_not_invited": "could not join because only invited accounts may do so",
    "microsoft_teams_breakout_room_unsupported": (
        "was moved to a breakout room, which Recall does not support"
    ),
    "microsoft_teams_event_not_started_for_external": (
        "could not join because outsiders may not do so before the event starts"
    ),
    "microsoft_teams_2fa_required": "could not join because its account asks for a second factor",
    "webex_join_meeting_error": (
        "could not join because Webex refused the meeting or the credentials"
    ),
}
WORDS = {**_LEFT, **_DENIED, **_FATAL, **_GOOGLE_MEET, **_ZOOM, **_TEAMS_AND_WEBEX}


NO_SUB_CODE, OTHER_SUB_CODE = "none", "other"
_LABEL_WORDS = {NO_SUB_CODE: "without a reason", OTHER_SUB_CODE: "with a sub code unknown here"}


def sub_code_label(sub_code: str | None) -> str:
    """Return a sub code as counts are kept by it: a new one of Recall's makes no new counter."""
    if not sub_code:
        return NO_SUB_CODE
    return sub_code if sub_code in WORDS else OTHER_SUB_CODE


def describe_label(label: str) -> str:
    """Say what a label of the counts stands for."""
    return _LABEL_WORDS.get(label) or f"the bot {WORDS.get(label, f'ended with {label}')}"


def describe_sub_code(sub_code: str | None) -> str | None:
    """Say why a bot ended; an unknown sub code stands for itself, and None says nothing."""
    if not sub_code:
        return None
    return WORDS.get(sub_code, f"ended with {sub_code}")


def describe_end(status: str, sub_code: str | None, *, recorded: bool | None) -> str | None:
    """Say what came of a bot in one clause; None while its call goes on."""
    kind = end_kind(status, sub_code, recorded=recorded)
    if kind is None:
        return None
    if kind == "recorded":
        return "the bot recorded"
    # A bot that waited did what it could: only a fatal one has failed.
    clause = (
        "the bot failed and recorded nothing" if kind == "fatal" else "the bot recorded nothing"
    )
    why = describe_sub_code(sub_code)
    return clause if why is None else f"{clause}: it {why}"
