"""From a bot to its calendar users and meetings, over Recall's API; no SQL in here.

The order is the one of https://docs.recall.ai/docs/calendar-v1-faq: the bot, a token for each
calendar user's external_id, the meeting.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Protocol, TypeVar

from models.tables.calendar import MeetingState
from workers.calendar_tokens.crypto import Tokens
from workers.linking.types import Claim, LinkResult, MeetingResult
from workers.privacy.tombstones import USER_ERASED, UserErasedError, is_pseudonym
from workers.rate_limits.buckets import Bucket, Buckets
from workers.recall_api.client import Recall
from workers.recall_api.errors import Endpoint, RecallError
from workers.recall_api.retry_policy import Then, decide
from workers.recall_api.schemas import BotBody, MeetingBody, MeetingRef, is_usable_external_id

T = TypeVar("T")


class Turnstile(Protocol):
    """What stands before each call: the rate limits."""

    def enter(self, endpoint: Endpoint, bucket: Bucket) -> None:
        """Wait for one call's turn; RecallError (held) where that takes long."""

    def close(self, bucket: Bucket, error: RecallError) -> None:
        """Let nobody through for as long as this 429 says."""


class Linker:
    """Follows one claimed bot; `has_turn` says that its own GET's was taken with the claim."""

    def __init__(
        self,
        recall: Recall,
        tokens: Tokens,
        buckets: Buckets,
        turnstile: Turnstile,
        *,
        has_turn: bool = True,
    ) -> None:
        self._recall = recall
        self._has_turn = has_turn
        self._tokens = tokens
        self._buckets = buckets
        self._turnstile = turnstile

    def link_bot(self, claim: Claim) -> LinkResult:
        """Fetch what the claim is owed; failures are in the result, never raised."""
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
        bucket = self._buckets.bot_get
        if not self._has_turn:
            self._turnstile.enter(Endpoint.BOT, bucket)
        return self._minding(bucket, lambda: self._recall.bot(bot_id))

    def _minding(self, bucket: Bucket, call: Callable[[], T]) -> T:
        try:
            return call()
        except RecallError as error:
            if decide(error, 1).then is Then.CLOSE_BUCKET:
                self._turnstile.close(bucket, error)
            raise

    def _fetch(self, ref: MeetingRef, after: list[MeetingResult]) -> MeetingResult:
        if after and (error := after[-1].error) and decide(error, 1).then is Then.OPEN_CIRCUIT:
            # The whole workspace is refused: no use in hearing it once per meeting.
            return _ended_or_owed(ref, error)
        # Linked all the same: the bot says that it served this meeting, and that is the link;
        # only its details cannot be asked for.
        if ref.external_id is None:
            return _answered(ref, "unfetchable", "no_external_id")
        if not is_usable_external_id(ref.external_id):
            return _answered(ref, "unfetchable", "unusable_external_id")
        try:
            return self._fetch_as(ref, ref.external_id)
        # Told apart from a refusal: nobody asked Recall, and nobody must.
        except UserErasedError:
            return _answered(ref, "unfetchable", USER_ERASED)
        except RecallError as error:
            return _ended_or_owed(ref, error)

    def _fetch_as(self, ref: MeetingRef, external_id: str) -> MeetingResult:
        # Recall limits each calendar user's endpoints apart.
        bucket = self._buckets.of_user(external_id)
        attempt = 0
        while True:
            attempt += 1
            token = self._token(external_id)
            self._turnstile.enter(Endpoint.MEETING, bucket)
            try:
                fetch = partial(self._recall.meeting, ref.meeting_id, token)
                return _answered(ref, "found", body=self._minding(bucket, fetch))
            except RecallError as error:
                if decide(error, attempt).then is not Then.RENEW_TOKEN:
                    raise
                self._tokens.drop(external_id, token)

    def _token(self, external_id: str) -> str:
        if is_pseudonym(external_id):
            # Out of our own tables: a token for it would make a user of that name.
            raise UserErasedError
        if token := self._tokens.get(external_id):
            return token
        minted: str | None = None
        try:
            bucket = self._buckets.authenticate
            self._turnstile.enter(Endpoint.AUTHENTICATE, bucket)
            minted = self._minding(bucket, lambda: self._recall.authenticate(external_id))
        finally:
            # Also when it failed: another thread may be waiting for this minting.
            self._tokens.put(external_id, minted)
        return minted


def refs_of(claim: Claim, bot: BotBody | None) -> tuple[MeetingRef, ...]:
    """Return the meetings to look at: the body's, or those on file when it was read before."""
    # A retry for the same reason trusts the list on file and saves the bot's GET.
    if bot is not None:
        return bot.meetings
    return tuple(known.ref for known in claim.known.values() if known.is_open)


def _ended_or_owed(ref: MeetingRef, error: RecallError) -> MeetingResult:
    # The token was renewed once by now, so a refusal is final: the second attempt's decision.
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
