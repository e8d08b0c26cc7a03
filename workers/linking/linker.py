"""From a bot to its calendar users and meetings, over Recall's API; no SQL in here.

The order is the one of https://docs.recall.ai/docs/calendar-v1-faq: the bot, a token for each
calendar user's external_id, the meeting.
"""

from datetime import UTC, datetime
from functools import partial

from models.tables.calendar import MeetingState
from workers.calendar_tokens.crypto import Tokens
from workers.linking.types import Claim, LinkResult, MeetingResult
from workers.privacy.tombstones import USER_ERASED, UserErasedError, is_pseudonym
from workers.rate_limits.buckets import Buckets
from workers.recall_api.client import Recall
from workers.recall_api.errors import Endpoint, RecallError
from workers.recall_api.retry_policy import Then, decide
from workers.recall_api.schemas import BotBody, MeetingBody, MeetingRef, is_usable_external_id
from workers.recall_api.turns import Turns


class Linker:
    """Links one claimed bot; `has_turn` says that the turn of its GET was taken with the claim."""

    def __init__(
        self,
        recall: Recall,
        tokens: Tokens,
        buckets: Buckets,
        turns: Turns,
        *,
        has_turn: bool = True,
    ) -> None:
        self._recall = recall
        self._has_turn = has_turn
        self._tokens = tokens
        self._buckets = buckets
        self._turns = turns

    def link_bot(self, claim: Claim) -> LinkResult:
        """Fetch what is due; failures are in the result, never raised."""
        started_at = datetime.now(UTC)
        bot: BotBody | None = None
        failure: RecallError | None = None
        fetched: list[MeetingResult] = []
        kept: list[MeetingRef] = []
        try:
            bot = None if claim.is_fetched else self._bot(claim.bot_id)
        except RecallError as error:
            failure = error
        else:
            for ref in refs_of(claim, bot):
                known = claim.known.get(ref.meeting_id)
                if known and known.is_settled_for(ref):
                    kept.append(ref)
                else:
                    fetched.append(self._fetch(ref, after=fetched))
        return LinkResult(
            claim=claim,
            started_at=started_at,
            finished_at=datetime.now(UTC),
            calls=tuple(self._recall.calls),
            bot=bot,
            failure=failure,
            fetched=tuple(fetched),
            kept=tuple(kept),
        )

    def _bot(self, bot_id: str) -> BotBody:
        bucket, fetch = self._buckets.bot_get, partial(self._recall.bot, bot_id)
        if self._has_turn:
            return self._turns.call_now(bucket, fetch)
        return self._turns.call(Endpoint.BOT, bucket, fetch)

    def _fetch(self, ref: MeetingRef, after: list[MeetingResult]) -> MeetingResult:
        if after and (error := after[-1].error) and decide(error, 1).then is Then.OPEN_CIRCUIT:
            # Recall refuses the whole workspace, so the other meetings are not requested.
            return _ended_or_owed(ref, error)
        # The link exists, since the bot lists the meeting; only its details cannot be fetched.
        if ref.external_id is None:
            return _answered(ref, "unfetchable", "no_external_id")
        if not is_usable_external_id(ref.external_id):
            return _answered(ref, "unfetchable", "unusable_external_id")
        try:
            return self._fetch_as(ref, ref.external_id)
        except UserErasedError:
            return _answered(ref, "unfetchable", USER_ERASED)
        except RecallError as error:
            return _ended_or_owed(ref, error)

    def _fetch_as(self, ref: MeetingRef, external_id: str) -> MeetingResult:
        # Recall has a rate limit for each calendar user.
        bucket = self._buckets.of_user(external_id)
        attempt = 0
        while True:
            attempt += 1
            token = self._token(external_id)
            fetch = partial(self._recall.meeting, ref.meeting_id, token)
            try:
                body = self._turns.call(Endpoint.MEETING, bucket, fetch)
                return _answered(ref, "found", body=body)
            except RecallError as error:
                if decide(error, attempt).then is not Then.RENEW_TOKEN:
                    raise
                self._tokens.drop(external_id, token)

    def _token(self, external_id: str) -> str:
        if is_pseudonym(external_id):
            # Stored by us: a token would create a user of that name at Recall.
            raise UserErasedError
        if token := self._tokens.get(external_id):
            return token
        minted: str | None = None
        try:
            request = partial(self._recall.authenticate, external_id)
            bucket = self._buckets.authenticate
            minted = self._turns.call(Endpoint.AUTHENTICATE, bucket, request)
        finally:
            # Also after a failure: another thread may be waiting for this token.
            self._tokens.put(external_id, minted)
        return minted


def refs_of(claim: Claim, bot: BotBody | None) -> tuple[MeetingRef, ...]:
    """Return the meetings to fetch: the body's, or the stored ones if it was read before."""
    # A retry for the same reason uses the stored list, which saves the GET of the bot.
    if bot is not None:
        return bot.meetings
    return tuple(known.ref for known in claim.known.values() if known.is_open)


def _ended_or_owed(ref: MeetingRef, error: RecallError) -> MeetingResult:
    # As for a second attempt: the token was renewed once, so a refusal is final.
    decision = decide(error, 2)
    if decision.then is Then.GIVE_UP:
        return _answered(ref, decision.state, error.reason)
    return MeetingResult(ref, "owed", error.reason, error=error)


def _answered(
    ref: MeetingRef,
    state: MeetingState,
    reason: str | None = None,
    body: MeetingBody | None = None,
) -> MeetingResult:
    return MeetingResult(ref, state, reason, body=body, fetched_at=datetime.now(UTC))
